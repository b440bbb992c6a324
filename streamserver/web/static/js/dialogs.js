// Questions and secrets in dialogs.

import { byId, setText } from "./dom.js";

/** Asks; true when the answer is yes. */
export async function sure(title, text, yes) {
  setText(byId("sure-title"), title);
  setText(byId("sure-text"), text);
  setText(byId("sure-yes"), yes);
  return (await open(byId("sure"))) === "yes";
}

/** Shows a key, and forgets it when it is closed. */
export async function showKey(name, key) {
  setText(byId("key-name"), name);
  byId("key-value").value = key;
  await open(byId("key-dialog"));
  byId("key-value").value = "";
}

async function open(dialog) {
  dialog.returnValue = "";
  dialog.showModal();
  await new Promise((closed) => dialog.addEventListener("close", closed, { once: true }));
  return dialog.returnValue;
}
