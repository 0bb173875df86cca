"""Many models at once: stacked members, one gradient loop, and its replay."""
