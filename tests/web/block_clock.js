// Reads the test picture's row of blocks: the JavaScript side of
// streamserver/ffmpeg/testsource_clock.py, whose geometry() is the second argument.

/** Unix milliseconds shown by a video or canvas, or null when it shows none. */
(source, geometry) => {
  const { picture_width: width, left, top, block, blocks, time_bits: timeBits } = geometry;
  const canvas = new OffscreenCanvas(width, block);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(source, 0, top, width, block, 0, 0, width, block);
  const { data } = context.getImageData(0, 0, width, block);
  const levels = Array.from({ length: blocks }, (_, i) => {
    const x = left + i * block + (block >> 1);
    return data[((block >> 1) * width + x) * 4 + 1];
  });
  const [white, black] = levels;
  if (white - black < 60 || levels.at(-1) - levels.at(-2) < 60) return null;
  const bits = levels.slice(2, -2).map((level) => (level > (white + black) / 2 ? 1 : 0));
  const number = (some) => some.reduce((value, bit) => value * 2 + bit, 0);
  let check = 0b1010;
  for (let place = 0; place * 4 < timeBits; place += 1) {
    const nibble = number(bits.slice(timeBits - place * 4 - 4, timeBits - place * 4));
    const turn = place % 4;
    check ^= ((nibble << turn) | (nibble >> (4 - turn))) & 0xf;
  }
  return check === number(bits.slice(timeBits)) ? number(bits.slice(0, timeBits)) : null;
}
