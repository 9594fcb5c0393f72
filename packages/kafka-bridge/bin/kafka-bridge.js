#!/usr/bin/env node
import '../dist/cli/kafka-bridge.js';
