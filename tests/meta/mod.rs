//! Tests of the sources themselves.

mod rooms;
