"""Sets whose samples lie in memory: loaded once, then each batch is cut from them."""
