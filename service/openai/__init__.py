"""OpenAI's images API, as far as panoramas have it, over the same jobs as /panoramas."""
