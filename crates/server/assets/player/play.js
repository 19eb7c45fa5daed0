// Plays one stream by one way, and measures it. What to try next is decided by the page.

const LIBRARIES = {
  hls: { path: "/tidegate/hls.light-1.7.4.min.js", global: "Hls" },
  mpegts: { path: "/tidegate/mpegts-1.8.2.js", global: "mpegts" },
};

/** How long media may flow without a picture before the way counts as failed. Streams start at a key frame, so it takes a moment. */
const PICTURE_WITHIN_MS = 12_000;

/** Longest wait for the head of an answer: the server holds a viewer of an absent stream and answers by itself, 15 s by default. */
const ANSWER_WITHIN_MS = 120_000;

/** Bit rates are taken over this time: segments and groups of pictures come in bursts. */
const RATE_OVER_MS = 6_000;

/** Longest text of the server that is shown. */
const MAX_TEXT = 300;

/**
 * One attempt. `on` has the callbacks, each called at most once: `picture()`, `ended()`, `blocked()`, and
 * `failed({key, ...values}, {status, sound})`, where `status` is the server's if it gave one and `sound` is true if leaving the
 * sound alone may help.
 */
export class Playback {
  constructor(video, choice, url, on) {
    Object.assign(this, { video, choice, url, on });
    this.began = performance.now();
    this.firstPictureMs = null;
    this.codecs = "";
    this.received = [];
    this.abort = new AbortController();
  }

  /** Begins. */
  async start() {
    const { video } = this;
    const listen = (name, then) => video.addEventListener(name, then, { signal: this.abort.signal });
    listen("error", () => this.fail({ key: "media", text: video.error?.message || `code ${video.error?.code}` }));
    listen("ended", () => this.end());
    // Sound without a picture has no frames to wait for.
    listen("playing", () => video.videoWidth === 0 && this.picture());
    video.requestVideoFrameCallback?.(() => this.picture());
    if (!video.requestVideoFrameCallback) listen("playing", () => this.picture());
    try {
      await this[this.choice.way.player]();
    } catch (error) {
      this.fail({ key: "media", text: String(error?.message ?? error) });
      return;
    }
    if (this.over) return;
    video.play().catch((error) => {
      if (!this.over && error.name === "NotAllowedError") this.on.blocked();
    });
  }

  /** Ends, whatever state it is in. */
  stop() {
    if (this.over) return;
    this.over = true;
    this.abort.abort();
    clearTimeout(this.watchdog);
    this.player?.destroy();
    this.video.removeAttribute("src");
    this.video.load();
  }

  /** What is known now: numbers, or `null` where nobody tells. */
  stats() {
    const { video, player } = this;
    const quality = video.getVideoPlaybackQuality?.();
    const size = video.videoWidth ? `${video.videoWidth} × ${video.videoHeight}` : null;
    return {
      ...this.latency(player),
      firstPictureMs: this.firstPictureMs,
      size,
      codecs: this.codecs,
      decoded: quality?.totalVideoFrames ?? null,
      dropped: quality?.droppedVideoFrames ?? null,
      kbps: this.rate(),
    };
  }

  latency(player) {
    if (this.firstPictureMs === null) return { latencyMs: null, tip: { key: "latencyBuffer" } };
    const { video } = this;
    if (this.choice.way.player === "hls") {
      const edge = Math.round(player.latency * 1000);
      const date = player.playingDate;
      // A clock that is behind the server's makes nonsense of the difference; the distance to the edge stays right.
      const byClock = date ? Date.now() - date.getTime() : -1;
      if (byClock >= 0 && byClock < 3_600_000) return { latencyMs: byClock, tip: { key: "latencyClock", edge } };
      return { latencyMs: edge, tip: { key: "latencyEdge" } };
    }
    const native = this.choice.way.player === "native";
    // A live playlist has its edge in `seekable`; what is buffered may end earlier.
    const ranges = native && video.seekable.length ? video.seekable : video.buffered;
    if (!ranges.length) return { latencyMs: null, tip: { key: "latencyBuffer" } };
    const ahead = (ranges.end(ranges.length - 1) - video.currentTime) * 1000;
    return { latencyMs: Math.max(0, Math.round(ahead)), tip: { key: native ? "latencyNative" : "latencyBuffer" } };
  }

  /** Counts media that came. */
  count(bytes) {
    const now = performance.now();
    this.received.push({ now, bytes });
    while (this.received[0].now < now - RATE_OVER_MS) this.received.shift();
    if (this.firstPictureMs === null && !this.watchdog && !this.over) {
      this.watchdog = setTimeout(() => this.fail({ key: "noPicture" }), PICTURE_WITHIN_MS);
    }
  }

  rate() {
    const now = performance.now();
    const recent = this.received.filter((one) => one.now >= now - RATE_OVER_MS);
    // The first one opens the measured time; what came with it lies before, and may be a cached group of pictures.
    if (recent.length < 2 || now - recent[0].now < 1000) return null;
    const bytes = recent.slice(1).reduce((sum, one) => sum + one.bytes, 0);
    return Math.round((bytes * 8) / (now - recent[0].now));
  }

  picture() {
    if (this.over || this.firstPictureMs !== null) return;
    this.firstPictureMs = Math.round(performance.now() - this.began);
    clearTimeout(this.watchdog);
    this.on.picture();
  }

  end() {
    if (this.over) return;
    this.stop();
    this.on.ended();
  }

  fail(why, more = {}) {
    if (this.over) return;
    this.stop();
    this.on.failed(why, more);
  }

  // The players. Each throws, or calls `fail`, or plays.

  async hls() {
    const Hls = await library("hls");
    if (this.over) return;
    if (!Hls.isSupported()) throw new Error("MSE");
    const patient = {
      maxTimeToFirstByteMs: ANSWER_WITHIN_MS, maxLoadTimeMs: ANSWER_WITHIN_MS, timeoutRetry: null, errorRetry: null,
    };
    const player = new Hls({
      lowLatencyMode: true,
      // Holding a viewer until the stream is there is the server's part; asking again would only wait again.
      manifestLoadPolicy: { default: patient },
      backBufferLength: 30,
    });
    this.player = player;
    let recovered = false;
    player.on(Hls.Events.ERROR, (_, data) => {
      if (!data.fatal) return;
      if (data.type === Hls.ErrorTypes.MEDIA_ERROR && !recovered) {
        recovered = true;
        player.recoverMediaError();
        return;
      }
      const status = data.response?.code || 0;
      if (data.type !== Hls.ErrorTypes.NETWORK_ERROR) {
        this.fail({ key: "media", text: data.error?.message ?? data.details });
      } else if (status >= 400) {
        const request = data.networkDetails;
        const kind = request?.getResponseHeader?.("content-type") ?? "";
        this.fail(...refusal(status, kind, request?.responseText ?? ""));
      } else {
        this.fail({ key: this.firstPictureMs === null ? "unreachable" : "lost" });
      }
    });
    player.on(Hls.Events.FRAG_LOADED, (_, data) => this.count((data.part ?? data.frag).stats.loaded));
    player.on(Hls.Events.BUFFER_CODECS, (_, data) => {
      const codecs = [data.video, data.audio, data.audiovideo].map((track) => track?.levelCodec || track?.codec);
      this.codecs = codecs.filter(Boolean).join(", ");
    });
    player.loadSource(this.url);
    player.attachMedia(this.video);
  }

  async mpegts() {
    const mpegts = await library("mpegts");
    if (this.over) return;
    mpegts.LoggingControl.enableAll = false;
    const type = this.choice.way.id === "ts" ? "mpegts" : "flv";
    const source = { type, isLive: true, url: this.url };
    if (!this.choice.sound) source.hasAudio = false;
    const player = mpegts.createPlayer(source, {
      enableStashBuffer: false,
      lazyLoad: false,
      // A stream begins with a group of pictures from the past; jump over it, then keep close by playing a little faster.
      liveBufferLatencyChasing: true,
      liveBufferLatencyMaxLatency: 2,
      liveBufferLatencyMinRemain: 0.4,
      liveSync: true,
      liveSyncMaxLatency: 1,
      liveSyncTargetLatency: 0.5,
      liveSyncPlaybackRate: 1.1,
      customLoader: loaderFor(this, mpegts),
    });
    this.player = player;
    player.on(mpegts.Events.MEDIA_INFO, (info) => {
      this.codecs = [info.videoCodec, info.audioCodec].filter(Boolean).join(", ");
    });
    player.on(mpegts.Events.LOADING_COMPLETE, () => this.end());
    player.on(mpegts.Events.ERROR, (type, detail, info) => {
      const text = info?.msg ?? detail;
      if (this.refused) {
        this.fail(...this.refused);
      } else if (type === mpegts.ErrorTypes.NETWORK_ERROR) {
        this.fail({ key: this.received.length ? "lost" : "unreachable" });
      } else {
        this.fail({ key: "media", text }, { sound: this.choice.sound && /audio/i.test(text) });
      }
    });
    player.attachMediaElement(this.video);
    player.load();
  }

  async native() {
    this.video.src = this.url;
  }
}

/**
 * A loader for mpegts.js that keeps what the server says when it refuses, which the loaders of mpegts.js drop, and counts what
 * comes. The same for HTTP and WebSocket.
 */
function loaderFor(playback, mpegts) {
  return class extends mpegts.BaseLoader {
    constructor() {
      super("tidegate");
      this._needStash = true;
      this.abortion = new AbortController();
      this.total = 0;
    }

    destroy() {
      this.abort();
      super.destroy();
    }

    abort() {
      this._status = mpegts.LoaderStatus.kComplete;
      this.abortion.abort();
      this.socket?.close();
    }

    open(source) {
      this._status = mpegts.LoaderStatus.kConnecting;
      if (source.url.startsWith("ws")) this.openSocket(source.url);
      else this.openHttp(source.url).catch((error) => this.broke(error));
    }

    async openHttp(url) {
      const answer = await fetch(url, { signal: this.abortion.signal, cache: "no-store" });
      if (!answer.ok) {
        const text = await answer.text();
        playback.refused = refusal(answer.status, answer.headers.get("content-type") ?? "", text);
        this.broke({ code: answer.status, message: answer.statusText });
        return;
      }
      const reader = answer.body.getReader();
      for (;;) {
        const { done, value } = await reader.read();
        if (this.abortion.signal.aborted) return;
        if (done) break;
        this.chunk(value.byteLength === value.buffer.byteLength ? value.buffer : value.slice().buffer);
      }
      this.complete();
    }

    openSocket(url) {
      const socket = new WebSocket(url);
      this.socket = socket;
      socket.binaryType = "arraybuffer";
      socket.onmessage = (event) => {
        if (!this.abortion.signal.aborted) this.chunk(event.data);
      };
      socket.onclose = (event) => {
        // 1000 and 1001 are the server's ways to say that the stream is over (RFC 6455, section 7.4.1).
        if (event.code === 1000 || event.code === 1001) this.complete();
        else this.broke({ code: event.code, message: event.reason });
      };
    }

    chunk(data) {
      this._status = mpegts.LoaderStatus.kBuffering;
      const start = this.total;
      this.total += data.byteLength;
      playback.count(data.byteLength);
      this._onDataArrival?.(data, start, this.total);
    }

    complete() {
      if (this.abortion.signal.aborted) return;
      this._status = mpegts.LoaderStatus.kComplete;
      this._onComplete?.(0, this.total - 1);
    }

    broke(error) {
      if (this.abortion.signal.aborted) return;
      this._status = mpegts.LoaderStatus.kError;
      this._onError?.(mpegts.LoaderErrors.EXCEPTION, { code: error.code ?? -1, msg: error.message });
    }
  };
}

/** The server's refusal in its own words. Its 404 is a page for people, which says less than we know. */
function refusal(status, kind, body) {
  const own = kind.startsWith("text/plain") ? body.trim().slice(0, MAX_TEXT) : "";
  const why = status === 404 && !own ? { key: "missing" } : { key: "refused", text: own || `HTTP ${status}` };
  return [why, { status }];
}

const loading = {};

/** A library, loaded when it is first needed. */
function library(name) {
  const { path, global } = LIBRARIES[name];
  loading[name] ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = path;
    script.onload = () => resolve(self[global]);
    script.onerror = () => {
      delete loading[name];
      reject(new Error(path));
    };
    document.head.append(script);
  });
  return loading[name];
}
