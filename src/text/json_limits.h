// What the readers of JSON from outside share: limits, repair of strings, repeated keys.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace cachalot {

// Values in one text. Each may be two bytes long, but takes some fifty in memory; a prompt of two million
// token ids passes.
inline constexpr std::size_t kMaxJsonValues = 2'000'000;

// Keys in one object, which is searched from its beginning for each field that somebody asks for.
inline constexpr std::size_t kMaxJsonKeys = 100'000;

// The JSON text with the escapes of unpaired surrogates (clients cut strings between the halves) replaced by
// \ufffd: nlohmann-json would refuse them, and with them the whole request. `storage` holds the result if it
// differs from `text`.
std::string_view without_lone_surrogates(std::string_view text, std::string& storage);

// For each of the keys the place of its last equal where it stands for the first time, kRepeated elsewhere.
// Empty if no two are equal. By sorting: whoever chooses the keys could make a hash table slow.
inline constexpr std::size_t kRepeated = ~std::size_t{0};
std::vector<std::size_t> last_of_equal(const std::vector<const std::string*>& keys);

}  // namespace cachalot
