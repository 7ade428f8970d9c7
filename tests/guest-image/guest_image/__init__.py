"""The images of the guests that tests run.  See docs/guest-images.md."""
