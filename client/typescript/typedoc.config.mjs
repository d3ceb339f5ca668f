// The documentation of the API, into docs/. A warning is a failure: it says what is missing there.

import { OptionDefaults } from "typedoc";

export default {
  entryPoints: ["src/index.ts"],
  // What the generator of the stubs says of their source.
  blockTags: [...OptionDefaults.blockTags, "@generated"],
  excludeTags: ["@generated"],
  // Shapes of the contract, by which the types that are exported are written.
  intentionallyNotExported: [
    "OneOf",
    "RequestFields",
    "Handler",
    "Input",
    "Output",
    "StubMethod",
    "setAttributes",
    "createDefinition",
    "createSession",
    "createLinkedAuth",
    "revokeSessions",
  ],
  // The page links to folders of the repository, too.
  validation: { invalidPath: false },
  treatWarningsAsErrors: true,
};
