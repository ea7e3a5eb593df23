// Reads little-endian values one after the other from bytes that may end anywhere.
#pragma once

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <type_traits>

#include "base/error.h"

namespace cachalot {

static_assert(std::endian::native == std::endian::little, "files are little endian and read in place");

class ByteReader {
  public:
    // `source` starts every message and must outlive the reader.
    ByteReader(std::span<const std::byte> bytes, std::string_view source) : bytes_(bytes), source_(source) {}

    std::size_t offset() const { return offset_; }
    std::size_t left() const { return bytes_.size() - offset_; }

    // The next `count` bytes. Throws Error naming `what` and the offset if the file ends before.
    std::span<const std::byte> take(std::uint64_t count, std::string_view what) {
        if (count > left())
            fail("{}: truncated: {} at offset {} needs {} bytes, {} are left", source_, what, offset_, count,
                 left());
        const auto result = bytes_.subspan(offset_, static_cast<std::size_t>(count));
        offset_ += result.size();
        return result;
    }

    template <class T>
    requires std::is_arithmetic_v<T> T read(std::string_view what) {
        T value;
        std::memcpy(&value, take(sizeof(T), what).data(), sizeof(T));
        return value;
    }

    // A u64 length and that many bytes.
    std::string_view read_string(std::string_view what) {
        const auto length = read<std::uint64_t>(what);
        const auto text = take(length, what);
        return {reinterpret_cast<const char*>(text.data()), text.size()};
    }

  private:
    std::span<const std::byte> bytes_;
    std::string_view source_;
    std::size_t offset_ = 0;
};

}  // namespace cachalot
