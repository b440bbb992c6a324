// The API's description (OpenAPI 3.1) as a page. It reads the document that this server made.

import { Api } from "./api.js";
import { byId, setText } from "./dom.js";

const METHODS = ["get", "post", "patch", "delete"];

class Docs {
  #root = new URL("../../", location.href).href;
  #document = null;

  async start() {
    byId("document").href = "openapi.json";
    try {
      this.#document = await new Api(this.#root).get("openapi.json");
    } catch (error) {
      setText(byId("status"), error.denied ? "Sign in on the dashboard first, in this tab." : error.message);
      return;
    }
    setText(byId("status"), "");
    setText(byId("title"), `The API of ${this.#document.info.title} ${this.#document.info.version}`);
    setText(byId("description"), this.#document.info.description);
    for (const tag of this.#document.tags) this.#showTag(tag);
    if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();
  }

  #showTag(tag) {
    const contents = byId("contents");
    const operations = byId("operations");
    contents.append(make("h2", tag.name));
    operations.append(make("h2", tag.description));
    for (const [path, item] of Object.entries(this.#document.paths)) {
      for (const method of METHODS) {
        const operation = item[method];
        if (!operation?.tags.includes(tag.name)) continue;
        const link = make("a", operation.operationId);
        link.href = `#${operation.operationId}`;
        contents.append(link);
        operations.append(this.#operation(method, path, operation));
      }
    }
  }

  #operation(method, path, operation) {
    const section = make("section");
    section.className = "operation";
    section.id = operation.operationId;
    const verb = make("span", method.toUpperCase());
    verb.className = "method mono";
    verb.dataset.method = method;
    const name = make("span", path);
    name.className = "mono";
    const title = make("h3");
    title.append(verb, name);
    const summary = make("p", operation.summary);
    summary.className = "summary";
    const access = make("p", accessOf(operation.security));
    access.className = "hint";
    section.append(title, summary, access);
    const body = operation.requestBody?.content["application/json"];
    section.append(make("h4", "Try"), make("pre", this.#curl(method, path, operation, body)));
    const more = make("details");
    more.append(make("summary", "Parameters and answers"));
    if (operation.parameters) {
      more.append(make("h4", "Parameters"), table(operation.parameters.map((one) => [
        one.name, `${one.in}${one.required ? ", required" : ""}, ${this.#type(one.schema)}`, one.description,
      ])));
    }
    if (body) more.append(make("h4", "Body"), this.#fields(body.schema, true));
    for (const [status, answer] of Object.entries(operation.responses)) {
      this.#answer(more, status, answer);
    }
    section.append(more);
    return section;
  }

  #answer(parent, status, reference) {
    const answer = this.#resolve(reference);
    parent.append(make("h4", `${status} ${answer.description}`));
    const [content] = Object.values(answer.content ?? {});
    if (Number(status) >= 400 || !content) return;
    if (content.schema.$ref) parent.append(this.#fields(content.schema, false));
    if (content.example !== undefined) {
      parent.append(make("h4", "For example"), make("pre", JSON.stringify(content.example, null, 2)));
    }
  }

  #fields(reference, isBody) {
    const schema = this.#resolve(reference);
    const required = new Set(schema.required ?? []);
    return table(Object.entries(schema.properties ?? {}).map(([name, field]) => {
      const needed = isBody && required.has(name) ? "required, " : "";
      return [name, needed + this.#type(field), field.description ?? this.#resolve(field).description];
    }));
  }

  #type(schema) {
    if (schema.$ref) {
      const found = this.#resolve(schema);
      if (found.enum) return found.enum.join(" | ");
      return schema.$ref.split("/").pop();
    }
    const parts = schema.anyOf ?? schema.allOf;
    if (parts) return parts.map((one) => this.#type(one)).join(" or ");
    if (schema.enum) return schema.enum.join(" | ");
    if (schema.type === "array") return `list of ${schema.items ? this.#type(schema.items) : "anything"}`;
    const bounds = [
      schema.minimum !== undefined ? `≥ ${schema.minimum}` : "",
      schema.maximum !== undefined ? `≤ ${schema.maximum}` : "",
      schema.maxLength !== undefined ? `≤ ${schema.maxLength} characters` : "",
      schema.default !== undefined && schema.default !== "" ? `default ${JSON.stringify(schema.default)}` : "",
    ].filter(Boolean);
    return [schema.format ?? schema.type ?? "anything", ...bounds].join(", ");
  }

  #resolve(value) {
    let found = value;
    while (found?.$ref) {
      found = found.$ref.slice(2).split("/").reduce((node, step) => node[step], this.#document);
    }
    return found;
  }

  #curl(method, path, operation, body) {
    const url = this.#root.replace(/\/$/, "") + path.replace("{app}", "live").replace("{name}", "demo");
    const lines = [];
    if (!operation.security.some((one) => Object.keys(one).length === 0) && operation.security.length) {
      lines.push("-H \"Authorization: Bearer $TOKEN\"");
    }
    if (body) {
      lines.push("-H 'Content-Type: application/json'", `-d '${JSON.stringify(body.example).replaceAll("'", "'\\''")}'`);
    }
    const verb = method === "get" || (method === "post" && body) ? "" : `-X ${method.toUpperCase()} `;
    return ["curl ", verb, lines.map((one) => `${one} \\\n  `).join(""), `'${url}'`].join("");
  }
}

function accessOf(security) {
  if (security.length === 0) return "Open to everyone.";
  const open = security.some((one) => Object.keys(one).length === 0);
  return open ? "A token, or from the server's own host." : "Needs a token.";
}

function table(rows) {
  const made = make("table");
  for (const [name, type, text] of rows) {
    const row = made.insertRow();
    const head = make("th", name);
    head.scope = "row";
    row.append(head, make("td", type), make("td", text ?? ""));
  }
  const around = make("div");
  around.className = "scroll";
  around.append(made);
  return around;
}

function make(kind, text) {
  const node = document.createElement(kind);
  if (text !== undefined) node.textContent = text;
  return node;
}

new Docs().start();
