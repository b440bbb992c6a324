// Small helpers around the document. Text enters it through textContent only.

/** The element with an id; pages are static, so a missing one is a fault of ours. */
export function byId(id) {
  const node = document.getElementById(id);
  if (!node) throw new Error(`#${id} is missing`);
  return node;
}

/** Sets a text, and leaves the document alone when it is there already. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Shows or hides. */
export function show(node, visible) {
  if (node.hidden === visible) node.hidden = !visible;
}

/** Makes every `button[data-copy]` copy the value of the field that it names. */
export function wireCopyButtons(root = document) {
  for (const button of root.querySelectorAll("button[data-copy]")) {
    const label = button.textContent;
    button.addEventListener("click", async () => {
      const copied = await copy(byId(button.dataset.copy));
      setText(button, copied ? "Copied" : "Press Ctrl+C");
      setTimeout(() => setText(button, label), 1800);
    });
  }
}

async function copy(field) {
  field.focus();
  field.select();
  try {
    // Absent over plain HTTP from another host, where the old command still works.
    if (navigator.clipboard) await navigator.clipboard.writeText(field.value);
    else if (!document.execCommand("copy")) return false;
    return true;
  } catch {
    return false;
  }
}
