//! Frames of both profiles: known bytes, round trips, truncations (traversal V1).
