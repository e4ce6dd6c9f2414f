"""What ``edge-vss serve`` is made of: cameras that are kept going, and a page that shows what they see.

Each camera has threads of its own (`stream`). They leave the newest labels on a `board`, and never wait for
anybody who looks at it. One thread answers the browsers (`app`, `server`).
"""
