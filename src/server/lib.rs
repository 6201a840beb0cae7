//! Placeholder of the skeleton; see ARCHITECTURE.md.
