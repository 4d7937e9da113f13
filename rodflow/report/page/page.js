"use strict";
// What moves: each trail shows the points that are there at a step. Without this script the last step is seen.
for (const player of document.querySelectorAll(".player")) {
  const { first, last, trails } = JSON.parse(player.querySelector("script").textContent);
  const [button, slider, clock] = player.querySelectorAll("button, input, output");
  const drawn = trails.map(trail => {
    const group = document.getElementById(trail.id);
    return { ...trail, group, path: group.querySelector(":scope > path, :scope > g > path"), mark: group.querySelector("use"),
      marks: group.querySelector("use")?.parentNode };
  });
  let step = last, playing = 0;
  const show = () => {
    for (const { points, steps, tail, path, mark, marks } of drawn) {
      const seen = points.filter((_, i) => steps[i] <= step && (tail === null || steps[i] > step - tail));
      path?.setAttribute("d", seen.map(([x, y], i) => `${i ? "L" : "M"}${x} ${y}`).join(""));
      marks?.replaceChildren(...seen.map(([x, y]) => {
        const copy = mark.cloneNode();
        copy.setAttribute("x", x);
        copy.setAttribute("y", y);
        return copy;
      }));
    }
    slider.value = step;
    clock.textContent = `step ${Math.floor(step).toLocaleString("en")}`;
  };
  const pause = () => { cancelAnimationFrame(playing); playing = 0; button.textContent = "Play"; };
  const play = () => {
    let before = null;
    if (step >= last) step = first;
    button.textContent = "Pause";
    const onward = now => {
      step = Math.min(last, step + (last - first) * (now - (before ?? now)) / 12000); // the whole in twelve seconds
      before = now;
      show();
      if (step < last) playing = requestAnimationFrame(onward); else pause();
    };
    playing = requestAnimationFrame(onward);
  };
  button.addEventListener("click", () => playing ? pause() : play());
  slider.addEventListener("input", () => { pause(); step = Number(slider.value); show(); });
  player.classList.add("works");
  show();
  if (!matchMedia("(prefers-reduced-motion: reduce)").matches && player.matches(":first-of-type")) play();
}
// The numbers of a chart at the record that is pointed at.
for (const chart of document.querySelectorAll(".chart")) {
  const { left, right, steps, lines } = JSON.parse(chart.querySelector("script").textContent);
  const said = chart.querySelector("output"), hint = said.textContent;
  chart.addEventListener("pointermove", event => {
    const box = chart.querySelector("svg").getBoundingClientRect();
    const share = ((event.clientX - box.left) / box.width - left) / (right - left);
    const at = steps[0] + share * (steps[1] - steps[0]);
    const known = lines.flatMap(line => line[1]);
    if (!known.length) return;
    const step = known.reduce((a, b) => Math.abs(b - at) < Math.abs(a - at) ? b : a);
    const there = lines.filter(line => line[1].includes(step)).map(line => `${line[0]} ${line[2][line[1].indexOf(step)]}`);
    said.textContent = `Step ${step}: ${there.join("; ")}`;
  });
  chart.addEventListener("pointerleave", () => { said.textContent = hint; });
  chart.classList.add("works");
}
