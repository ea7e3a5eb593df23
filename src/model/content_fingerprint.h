// Which model this is, to the last byte: what was computed with it is right for no other.
//
//     content = hash(version, numbers of the configuration, tokenizer, hash of each file in its order)
//
// So any edit, damage or further training of any tensor makes another model of it. A drafter in files of its
// own has no part in it: what the model computes does not depend on who drafts. Where a model only has to
// be told from others, samples will do (fingerprint.h), which need not read all of it.
#pragma once

#include <functional>
#include <optional>

#include "file/content_hash.h"
#include "model/model.h"

namespace cachalot {

struct ContentFingerprintOptions {
    KeptHashes kept{{}};  // of the model's files
    // Told of bytes read and to be read; false: the work is given up.
    std::function<bool(std::uint64_t done, std::uint64_t total)> progress = {};
};

// Reads all files whose hashes are not kept; nothing if that was given up. Throws Error if a file cannot be
// read, or is not what it was when the model was loaded.
std::optional<Hash128> content_fingerprint(const Model& model, const ContentFingerprintOptions& options = {});

// Of what turns text into tokens and back.
Hash128 tokenizer_fingerprint(const Tokenizer& tokenizer);

}  // namespace cachalot
