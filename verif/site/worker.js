// A page that is opened as a file may start no worker, and the search of the site runs in one.
// Here the worker's script runs in a hidden frame, with the same messages in and out.
(() => {
  if (location.protocol !== "file:") return;

  class FrameWorker extends EventTarget {
    constructor(url) {
      super();
      this.frame = document.createElement("iframe");
      this.frame.hidden = true;
      document.body.appendChild(this.frame);
      const inner = this.frame.contentWindow;
      const scope = inner.document;
      scope.open();
      scope.write("<!doctype html><html><body></body></html>");
      scope.close();
      // What the script sends goes to the page.
      inner.postMessage = data => {
        const event = new MessageEvent("message", { data: structuredClone(data) });
        this.dispatchEvent(event);
        if (this.onmessage) this.onmessage(event);
      };
      const load = source => new Promise((resolve, reject) => {
        const script = scope.createElement("script");
        script.onload = resolve;
        script.onerror = () => reject(new Error(`${source} cannot be read`));
        script.src = source;
        scope.body.appendChild(script);
      });
      inner.importScripts = (...sources) =>
        sources.reduce((before, source) => before.then(() => load(source)), Promise.resolve());
      this.ready = load(`${url}`);
    }

    postMessage(data) {
      this.ready.then(() => this.frame.contentWindow.dispatchEvent(
        new MessageEvent("message", { data: structuredClone(data) })));
    }

    terminate() {
      this.frame.remove();
    }
  }

  window.Worker = FrameWorker;
  // The search asks its parent for this name to know where its other scripts are.
  window.IFrameWorker = FrameWorker;
})();
