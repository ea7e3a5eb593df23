// Any bytes must be a file of saved logits that can be read to its end, or an Error. The hash is fitted, so
// that what is behind it is reached.
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/error.h"
#include "measure/saved_logits.h"

using namespace cachalot;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto body = std::as_bytes(std::span(data, size));
    std::vector<std::byte> hashed(sizeof(Hash128)), file(body.begin(), body.end());
    hashed.insert(hashed.end(), body.begin(), body.end());
    const Hash128 hash = hash128(hashed);  // of files up to one piece, see saved_logits.h
    file.insert(file.end(), hash.begin(), hash.end());
    volatile double sum = 0;
    try {
        auto saved = SavedLogits::parse(file, "fuzz");
        for (std::size_t i = 0; i < saved.rows(); ++i) sum = sum + saved.next().rest;
    } catch (const Error&) {
    }
    return 0;
}
