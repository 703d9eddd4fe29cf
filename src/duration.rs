//! Durations as Go writes them: `1h30m`, `500ms`, `1.5s`.
