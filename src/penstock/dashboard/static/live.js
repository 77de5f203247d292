// The stream of views: one connection, closed while nobody looks, opened again when it breaks.

const FIRST_RETRY_MS = 1000;
const LAST_RETRY_MS = 15_000;

/**
 * Follows a query. `told` hears {state, message, again}: "waiting", "live", "trouble" (the server cannot read the ledger,
 * and tries again), "refused" (it will not serve this), "lost" (there is no server). `seen` hears each view.
 */
export class Live {
  constructor({ seen, told }) {
    Object.assign(this, { seen, told, query: null, source: null, timer: 0, retryMs: FIRST_RETRY_MS });
    document.addEventListener("visibilitychange", () => (document.hidden ? this.close() : this.connect()));
    addEventListener("pageshow", (event) => event.persisted && this.connect());
    addEventListener("pagehide", () => this.close());
  }

  follow(query) {
    this.query = query;
    this.retryMs = FIRST_RETRY_MS;
    this.connect();
  }

  close() {
    clearTimeout(this.timer);
    this.source?.close();
    this.source = null;
  }

  connect() {
    this.close();
    if (this.query === null || document.hidden) return;
    const source = new EventSource(`api/live?${this.query}`);
    this.source = source;
    source.addEventListener("view", (event) => {
      if (source !== this.source) return;
      this.retryMs = FIRST_RETRY_MS;
      const view = JSON.parse(event.data);
      this.seen(view);
      this.told({ state: "live" });
    });
    source.addEventListener("trouble", (event) => {
      if (source === this.source) this.told({ state: "trouble", message: JSON.parse(event.data).error });
    });
    source.addEventListener("error", () => {
      if (source === this.source) this.again();
    });
  }

  /** Ask why the stream ended, say it, and try again later, each time a little later. */
  async again() {
    this.close();
    const { query } = this;
    const wait = this.retryMs;
    this.retryMs = Math.min(LAST_RETRY_MS, wait * 2);
    this.timer = setTimeout(() => this.connect(), wait);
    let said = { state: "lost" };
    try {
      const answer = await fetch(`api/view?${query}`, { headers: { accept: "application/json" } });
      if (answer.status === 401) location.reload();
      if (!answer.ok) {
        const { error } = await answer.json();
        said = { state: answer.status < 500 ? "refused" : "trouble", message: error };
      } else {
        said = { state: "waiting" };
      }
    } catch {
      // No answer at all: the program has ended, or the network is away.
    }
    if (query === this.query && !this.source) this.told(said);
  }
}
