// The keys and values of a GGUF file, with typed access.
//
// Values stay where they are in the file: a vocabulary of 130,000 strings costs nothing until it is asked
// for. Writers disagree about integer types (u16, i32 and u64 all occur for a count), so an accessor takes
// any integer type whose value fits.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "file/byte_reader.h"
#include "file/gguf_format.h"

namespace cachalot {

struct GgufValue {
    std::string key;
    GgufType type = GgufType::u8;  // of the value, or of the elements of an array
    bool is_array = false;
    std::uint64_t count = 1;           // elements
    std::span<const std::byte> bytes;  // the elements as they are encoded in the file
};

// For people: "u32" or "str[129280]", and "4096" or "[0, 0, 4, 128, ...]" with at most max_items elements.
std::string type_text(const GgufValue& value);
std::string value_text(const GgufValue& value, std::size_t max_items = 8);

class GgufMetadata {
  public:
    GgufMetadata() = default;
    // Reads `count` keys. Throws Error starting with `source`, which also starts the messages of the
    // accessors.
    GgufMetadata(ByteReader& reader, std::uint64_t count, std::string source);

    std::span<const GgufValue> values() const { return values_; }  // in the order of the file
    const GgufValue* value(std::string_view key) const;            // null if absent
    bool contains(std::string_view key) const { return value(key) != nullptr; }

    // The value of a key as T. `find` gives none if the key is absent, `get` throws; both throw Error naming
    // file and key if the value has another type or does not fit.
    //
    // T is std::int32_t, uint32_t, int64_t or uint64_t (any integer type in the file), float or double (any
    // number), bool, std::string_view (into the file; valid as long as it is open), or std::vector of one of
    // these but bool.
    template <class T>
    std::optional<T> find(std::string_view key) const;

    template <class T>
    T get(std::string_view key) const {
        if (auto result = find<T>(key)) return *std::move(result);
        missing(key);
    }

    template <class T>
    T get_or(std::string_view key, T fallback) const {
        return find<T>(key).value_or(std::move(fallback));
    }

  private:
    [[noreturn]] void missing(std::string_view key) const;

    std::string source_;
    std::vector<GgufValue> values_;
    std::map<std::string, std::size_t, std::less<>> by_key_;
};

}  // namespace cachalot
