// Two drawings over one image: the slider moves the boundary between them.
(() => {
  const move = (slider) => {
    const scene = slider.closest(".scene");
    const at = Number(slider.value);
    scene.querySelector(".layer.left").style.clipPath = `inset(0 ${100 - at}% 0 0)`;
    scene.querySelector(".layer.right").style.clipPath = `inset(0 0 0 ${at}%)`;
    scene.querySelector(".edge").style.left = `${at}%`;
  };
  document.querySelectorAll(".slider").forEach((slider) => {
    slider.addEventListener("input", () => move(slider));
    move(slider); // a browser that comes back keeps the slider where it was
  });
})();
