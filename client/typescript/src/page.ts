// Lists, page by page.

/** One page of a list. */
export interface Page<T> {
  readonly items: T[];
  /** For the next page; empty on the last. */
  readonly nextPageToken: string;
}

/**
 * A list. Going through it asks for a page whenever the one before is used up:
 *
 * ```ts
 * for await (const session of alice.listSessions()) { ... }
 * for await (const page of alice.listSessions({ pageSize: 200 }).pages()) { ... }
 * const links = await alice.listLinkedAuth().all();
 * ```
 *
 * Each time it is gone through it is asked for anew.
 */
export class Pages<T> implements AsyncIterable<T> {
  readonly #ask: (pageToken: string) => Promise<Page<T>>;
  readonly #firstToken: string;

  /** @internal */
  constructor(firstToken: string, ask: (pageToken: string) => Promise<Page<T>>) {
    this.#firstToken = firstToken;
    this.#ask = ask;
  }

  /** The pages, one by one. `nextPageToken`, given as `pageToken` with the same request, goes on after that page. */
  async *pages(): AsyncGenerator<Page<T>, void, undefined> {
    let token = this.#firstToken;
    do {
      const page = await this.#ask(token);
      yield page;
      token = page.nextPageToken;
    } while (token !== "");
  }

  /** The items of all pages. */
  async *[Symbol.asyncIterator](): AsyncGenerator<T, void, undefined> {
    for await (const page of this.pages()) {
      yield* page.items;
    }
  }

  /** All items at once. */
  async all(): Promise<T[]> {
    const items: T[] = [];
    for await (const page of this.pages()) {
      items.push(...page.items);
    }
    return items;
  }
}
