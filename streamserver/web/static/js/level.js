// How loud a track is, on a meter.

const TICK_MS = 100;

export class Level {
  #meter;
  #context = null;
  #timer = 0;

  constructor(meter) {
    this.#meter = meter;
  }

  /** Shows this track from now on; null shows silence. */
  listen(track) {
    clearInterval(this.#timer);
    this.#context?.close();
    this.#context = null;
    this.#meter.value = 0;
    if (!track) return;
    const context = new AudioContext();
    const analyser = new AnalyserNode(context, { fftSize: 2048 });
    context.createMediaStreamSource(new MediaStream([track])).connect(analyser);
    this.#context = context;
    const samples = new Float32Array(analyser.fftSize);
    this.#timer = setInterval(() => {
      if (document.hidden) return;
      // Before the first gesture on the page browsers keep it suspended.
      if (context.state === "suspended") context.resume().catch(() => {});
      analyser.getFloatTimeDomainData(samples);
      const peak = samples.reduce((most, one) => Math.max(most, Math.abs(one)), 0);
      this.#meter.value = Math.max(peak, this.#meter.value * 0.8);
    }, TICK_MS);
  }
}
