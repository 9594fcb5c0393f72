/** Something found before the start. `input` findings are cured by other input, `state` ones by acting on a system. */
export interface Finding {
  kind: 'input' | 'state' | 'warning';
  what: string;
  todo: string;
}
