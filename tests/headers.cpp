// Nothing: a precompiled header needs a source that includes it.
