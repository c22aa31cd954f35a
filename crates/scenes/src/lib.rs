//! Scenes
