// Camera, microphone and screen as tracks to send. Knows devices, but neither page nor network.

/** Heights to choose from, with a bit rate that suits each at 30 pictures per second. */
export const SIZES = {
  360: { width: 640, bitRate: 800_000 },
  480: { width: 854, bitRate: 1_200_000 },
  720: { width: 1280, bitRate: 2_500_000 },
  1080: { width: 1920, bitRate: 4_500_000 },
};

const SENTENCES = {
  NotAllowedError: "The browser was not allowed to use it. Allow camera and microphone for this page in the address bar, then try again.",
  NotFoundError: "There is no camera or microphone. Plug one in, or share a screen.",
  NotReadableError: "The camera or microphone is in use by another program.",
  OverconstrainedError: "The chosen device is not there any more.",
  AbortError: "The device stopped while it was opened.",
};

/** Why there is no picture, as a sentence. */
export class CaptureError extends Error {
  constructor(cause) {
    super(SENTENCES[cause?.name] ?? "The device could not be opened.");
    this.name = cause?.name ?? "CaptureError";
  }
}

/** Whether the browser hands out cameras here: only over HTTPS or on the machine itself. */
export function allowed() {
  return Boolean(window.isSecureContext && navigator.mediaDevices?.getUserMedia);
}

/** Whether a screen can be shared: not on phones. */
export function screenAllowed() {
  return allowed() && Boolean(navigator.mediaDevices.getDisplayMedia);
}

/** Cameras and microphones; their names are empty until one was allowed. */
export async function devices() {
  const all = await navigator.mediaDevices.enumerateDevices();
  const real = all.filter(({ deviceId }) => !["", "default", "communications"].includes(deviceId));
  return {
    cameras: real.filter(({ kind }) => kind === "videoinput"),
    microphones: real.filter(({ kind }) => kind === "audioinput"),
  };
}

/** Events: `ended` when a device was unplugged or the sharing of a screen was stopped. */
export class Capture extends EventTarget {
  /** What a preview shows: the picture alone. */
  preview = new MediaStream();
  video = null;
  audio = null;

  #sources = [];
  #context = null;

  /** Opens what `{source, camera, microphone, height, music}` asks for; `camera` and `microphone`
   * are device ids, "" for any and "none" for no microphone. Raises `CaptureError`. */
  async open(wish) {
    this.close();
    try {
      if (wish.source === "screen") await this.#openScreen(wish);
      else await this.#openCamera(wish);
    } catch (error) {
      this.close();
      throw error instanceof CaptureError ? error : new CaptureError(error);
    }
    this.preview = new MediaStream(this.video ? [this.video] : []);
  }

  /** Lets go of all devices. */
  close() {
    for (const source of this.#sources) {
      for (const track of source.getTracks()) track.stop();
    }
    this.#sources = [];
    this.#context?.close();
    this.#context = null;
    this.video = this.audio = null;
    this.preview = new MediaStream();
  }

  async #openCamera(wish) {
    const stream = await this.#devices(pictureOf(wish), soundOf(wish), wish);
    [this.video = null] = stream.getVideoTracks();
    [this.audio = null] = stream.getAudioTracks();
    if (this.video) this.video.contentHint = "motion";
  }

  async #openScreen(wish) {
    const { height } = wish;
    const screen = await navigator.mediaDevices.getDisplayMedia({
      video: { frameRate: { ideal: 30 }, height: { max: height }, width: { max: SIZES[height].width } },
      // Its own sound as it is: what suits a voice spoils music.
      audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false },
    });
    this.#keep(screen);
    [this.video] = screen.getVideoTracks();
    this.video.contentHint = "detail";
    const sounds = screen.getAudioTracks();
    if (wish.microphone !== "none") {
      try {
        const voice = await navigator.mediaDevices.getUserMedia({ audio: soundOf(wish) });
        this.#keep(voice);
        sounds.push(...voice.getAudioTracks());
      } catch {
        // The screen alone is a broadcast, too.
      }
    }
    this.audio = sounds.length > 1 ? this.#mix(sounds) : sounds[0] ?? null;
  }

  /** Both, or the one that there is: a desk without a camera still speaks. */
  async #devices(video, audio, wish) {
    const media = navigator.mediaDevices;
    try {
      return this.#keep(await media.getUserMedia({ video, audio }));
    } catch (error) {
      // A device that was chosen once and is gone: any other.
      if (error.name === "OverconstrainedError" && (wish.camera || wish.microphone)) {
        const again = { ...wish, camera: "", microphone: wish.microphone === "none" ? "none" : "" };
        return this.#devices(pictureOf(again), soundOf(again), again);
      }
      if (error.name !== "NotFoundError" || !audio) throw error;
    }
    const { cameras, microphones } = await devices();
    if (cameras.length && !microphones.length) return this.#keep(await media.getUserMedia({ video }));
    if (microphones.length && !cameras.length) return this.#keep(await media.getUserMedia({ audio }));
    throw new CaptureError({ name: "NotFoundError" });
  }

  #keep(stream) {
    this.#sources.push(stream);
    for (const track of stream.getTracks()) {
      track.addEventListener("ended", () => {
        if (this.#sources.includes(stream)) this.dispatchEvent(new Event("ended"));
      });
    }
    return stream;
  }

  #mix(tracks) {
    this.#context = new AudioContext({ sampleRate: 48_000 });
    const out = this.#context.createMediaStreamDestination();
    for (const track of tracks) {
      this.#context.createMediaStreamSource(new MediaStream([track])).connect(out);
    }
    this.#sources.push(out.stream);
    return out.stream.getAudioTracks()[0];
  }
}

function pictureOf({ camera, height }) {
  return {
    width: { ideal: SIZES[height].width },
    height: { ideal: Number(height) },
    frameRate: { ideal: 30 },
    ...(camera ? { deviceId: { exact: camera } } : {}),
  };
}

function soundOf({ microphone, music }) {
  if (microphone === "none") return false;
  return {
    echoCancellation: !music,
    noiseSuppression: !music,
    autoGainControl: !music,
    channelCount: { ideal: music ? 2 : 1 },
    ...(microphone ? { deviceId: { exact: microphone } } : {}),
  };
}
