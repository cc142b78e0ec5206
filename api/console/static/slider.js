// Two drawings over one image: the slider moves the boundary between them.
(() => {
  const move = (slider) => {
    const scene = slider.closest(".scene");
    const at = Number(slider.value);
    scene.querySelector(".layer.left").style.clipPath = `inset(0 ${100 - at}% 0 0)`;
    scene.querySelector(".layer.right").style.clipPath = `inset(0 0 0 ${at}%)`;
    scene.querySelector(".edge").style.left = `${at}%`;
  };
  const all = () => document.querySelectorAll(".slider").forEach(move);
  document.addEventListener("input", (event) => { if (event.target.matches(".slider")) move(event.target); });
  // The slider over the epochs shows those that are kept, and asks for one when it is let go.
  document.addEventListener("input", (event) => { if (event.target.matches("[name=at]")) event.target.nextElementSibling.value = event.target.value; });
  document.addEventListener("change", (event) => { if (event.target.matches("[name=at]")) event.target.form.requestSubmit(); });
  document.addEventListener("htmx:after:swap", all); // a poll puts the layers back where they began
  document.addEventListener("page", all); // a browser that comes back keeps the slider where it was
})();
