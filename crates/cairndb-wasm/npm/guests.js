// Guests: the other tabs, as the worker sees them that has the database open; tabs.js is what they see of it.
//
// They say hello where everyone listens, and from then on each has a channel of its own.

import { channelOf, clientChannelOf } from './names.js';

/** For so long a closing owner waits for tabs to have heard it, in milliseconds. */
const GOODBYE_MS = 1000;

/** The other tabs that use the database through this worker. */
export class Guests {
  #name;
  #host;
  #main;
  #clients = new Map();

  /** They are refused where there is no `host`. */
  constructor(name, host) {
    this.#name = name;
    this.#host = host;
    this.#main = new BroadcastChannel(channelOf(name));
    this.#main.onmessage = ({ data }) => data.hello && this.#welcome(data.hello);
    // Whoever waits says hello again.
    this.#main.postMessage({ owner: true });
  }

  /** Tells every tab how far it was answered, before another can have the lock: what is behind that, it sends there. */
  async close() {
    this.#main.close();
    const left = [...this.#clients.values()].map((client) => {
      client.channel.postMessage({ goodbye: true, answered: client.answered });
      return new Promise((resolve) => (client.left = resolve));
    });
    await Promise.race([Promise.all(left), new Promise((resolve) => setTimeout(resolve, GOODBYE_MS))]);
    for (const { channel } of this.#clients.values()) channel.close();
  }

  #welcome(id) {
    if (this.#clients.has(id)) return;
    const channel = new BroadcastChannel(clientChannelOf(this.#name, id));
    if (!this.#host) {
      channel.postMessage({ refused: true });
      channel.close();
      return;
    }
    const client = { channel, answered: 0 };
    this.#clients.set(id, client);
    channel.onmessage = ({ data }) => {
      if (data.calls) {
        this.#host.take(client, data, (replies) => {
          client.answered = data.message;
          channel.postMessage({ replies });
        });
      } else if (data.left) {
        client.left?.();
      }
    };
    // The tab has this lock for as long as it lives.
    navigator.locks.request(clientChannelOf(this.#name, id), () => {
      this.#clients.delete(id);
      channel.close();
      client.left?.();
      this.#host.leave(client);
    });
    channel.postMessage({ welcome: true });
  }
}
