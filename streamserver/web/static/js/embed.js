// The embedded player: the stage alone. `?autoplay=1&muted=1` as video sites have it,
// and `via=hls` or `via=webrtc`.

import { byId, setText } from "./dom.js";
import { Stage } from "./stage.js";
import { streamOfPage } from "./stream-name.js";

const stream = streamOfPage();
const wish = new URLSearchParams(location.search);
const on = (name) => ["1", "true", ""].includes(wish.get(name) ?? "0");

setText(byId("name"), `${stream.app}/${stream.name}`);
document.title = `${stream.app}/${stream.name}`;
new Stage(stream, { autoplay: on("autoplay"), muted: on("muted"), via: wish.get("via") });
