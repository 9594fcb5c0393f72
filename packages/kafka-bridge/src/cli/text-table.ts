/** A table in columns two spaces apart. A column of figures stands to the right. */
export function textTable(header: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const widths = header.map((name, column) => Math.max(name.length, ...rows.map((row) => row[column]?.length ?? 0)));
  const numeric = header.map((_, column) => {
    const cells = rows.map((row) => row[column] ?? '').filter((cell) => cell !== '-');
    return cells.length > 0 && cells.every(isFigure);
  });
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, column) => {
        const width = widths[column] ?? 0;
        return numeric[column] === true ? cell.padStart(width) : cell.padEnd(width);
      })
      .join('  ')
      .trimEnd();
  return [line(header), ...rows.map(line)];
}

/** Names and what is said of each, in two columns. */
export function nameTable(rows: readonly (readonly [string, string])[]): string[] {
  const width = Math.max(0, ...rows.map(([name]) => name.length)) + 2;
  return rows.map(([name, value]) => `  ${name.padEnd(width)}${value}`.trimEnd());
}

function isFigure(cell: string): boolean {
  // Not the address of a host.
  return /^[\d,]+(\.\d+)?( [kMG]?B)?$/.test(cell);
}
