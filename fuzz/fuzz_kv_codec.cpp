// Bytes from a disk to an attention state: taken if they are of the tokens and the size that were asked for,
// whatever they are otherwise, and written again as they were.
//
// Input: how the tokens are cut into pieces; for each piece what is wrong with it, and its bytes.
#include <algorithm>

#include "input.h"
#include "state/kv_codec.h"
#include "support/small_states.h"

using namespace cachalot;

namespace {

CountedBytes rows(const KvCodec& codec, const KvCheckpoint& state, std::int64_t begin,
                  std::span<const std::int32_t> tokens) {
    CountedBytes bytes = codec.no_bytes();
    const auto end = begin + static_cast<std::int64_t>(tokens.size());
    bytes.resize(static_cast<std::size_t>(codec.rows_bytes(begin, end)));
    codec.write_rows(state, begin, tokens, bytes);
    return bytes;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const KvCodec codec(test::small_pool());
    fuzz::Input input(data, size);
    std::vector<std::int32_t> tokens;
    KvCheckpoint state = codec.beginning(nullptr, {});
    for (int piece = 0; piece < 6 && !input.empty(); ++piece) {
        const std::int64_t begin = state.length, count = input.between(0, 300);
        const int fault = input.number<std::uint8_t>() % 8;
        for (std::int64_t i = 0; i < count; ++i)
            tokens.push_back(static_cast<std::int32_t>(input.number<std::uint8_t>()));
        const auto own = std::span(tokens).subspan(static_cast<std::size_t>(begin));
        auto bytes = input.filled(static_cast<std::size_t>(codec.rows_bytes(begin, begin + count)));
        std::ranges::copy(std::as_bytes(own), bytes.begin());
        bool right = true;
        if (fault == 0) bytes.push_back({}), right = false;
        if (fault == 1 && !bytes.empty()) bytes.pop_back(), right = false;
        if (fault == 2 && count > 0)
            bytes[static_cast<std::size_t>(count * 4 - 1)] ^= std::byte{1}, right = false;
        if (fault == 3)
            bytes = input.filled(bytes.size() + static_cast<std::size_t>(input.between(1, 99))),
            right = false;
        codec.make_room(state, begin + count);
        CACHALOT_CHECK(codec.read_rows(state, own, bytes) == right);
        CACHALOT_CHECK(state.length == begin + (right ? count : 0));
        if (!right) {
            tokens.resize(static_cast<std::size_t>(begin));
            continue;
        }
        CACHALOT_CHECK(std::ranges::equal(rows(codec, state, begin, own), bytes));
    }
    // Any bytes are rings. What is restored is what was saved.
    const auto rings = input.filled(static_cast<std::size_t>(codec.rings_bytes(state.length)));
    state.rings.assign(rings.begin(), rings.end());
    KvState sequence = test::empty_state();
    sequence.restore(state);
    CACHALOT_CHECK(test::same(sequence.checkpoint(), state));
    // A beginning of it is what another sequence may share.
    const auto length = input.between(0, state.length) / 4 * 4;
    const auto shared = std::span(tokens).first(static_cast<std::size_t>(length));
    const KvCheckpoint beginning = codec.beginning(&state, shared);
    CACHALOT_CHECK(rows(codec, beginning, 0, shared) == rows(codec, state, 0, shared));
    return 0;
}
