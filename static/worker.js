// @ts-check
// Runs beside the tabs, once for all of them.

import { Hub } from "./hub.js";

const hub = new Hub();
Object.assign(self, { onconnect: (/** @type {MessageEvent} */ event) => hub.join(event.ports[0]) });
