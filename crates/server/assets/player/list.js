// The list of streams, and signing in for it.

import { md5 } from "./md5.js";

const STREAMS = "/tidegate/streams.json";

/** How often the list is renewed. */
const RENEW_MS = 3_000;

/**
 * Keeps the list. `changed(state)` is called with `{streams, leftOut, open, signIn, error}`: `signIn` is true if the server wants
 * to know the visitor first, `open` if nobody has to sign in, `error` is a text if there is no list.
 */
export class List {
  constructor(changed) {
    this.changed = changed;
    this.timer = 0;
    document.addEventListener("visibilitychange", () => {
      // Nobody sees it in a hidden tab, and many tabs stay open for days.
      if (document.hidden) clearTimeout(this.timer);
      else if (this.listed) this.renew();
    });
  }

  /** Asks now, and again later if there is a list. */
  async renew() {
    clearTimeout(this.timer);
    const number = (this.asked = (this.asked ?? 0) + 1);
    const answer = await ask(STREAMS);
    if (number !== this.asked) return;
    this.listed = answer.code === 0;
    if (this.listed) {
      this.changed({ streams: answer.streams, leftOut: answer.left_out, open: answer.open });
    } else if (answer.cookie) {
      this.changed({ streams: [], signIn: true });
    } else {
      // Asked again: the server may be restarting.
      this.listed = answer.code === undefined;
      this.changed({ streams: [], error: answer.msg });
    }
    if (this.listed && !document.hidden) this.timer = setTimeout(() => this.renew(), RENEW_MS);
  }

  /**
   * Signs in (ZLMediaKit's login by cookie): the server gives a value that is good for a minute, and a digest of it and the
   * secret is sent back. True if it was right. The secret is not kept.
   */
  async signIn(secret) {
    const refused = await ask(STREAMS);
    const digest = md5(`zlmediakit:${secret}:${refused.cookie ?? ""}`);
    const answer = await ask(`/index/api/login?digest=${digest}`);
    await this.renew();
    return answer.code === 0;
  }

  /** Signs out. */
  async signOut() {
    await ask("/index/api/logout");
    await this.renew();
  }
}

/** An answer of the API; without `code` if there is none. */
async function ask(path) {
  try {
    const answer = await fetch(path, { cache: "no-store" });
    if (!answer.ok) return { code: -1, msg: (await answer.text()) || `HTTP ${answer.status}` };
    return await answer.json();
  } catch (error) {
    return { msg: error.message };
  }
}
