// What targets share: an input that is taken apart piece by piece, and a folder that goes with the process.
#pragma once

#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"

namespace cachalot::fuzz {

// Numbers and bytes in the order in which they are asked for; zeros when there is nothing left.
class Input {
  public:
    Input(const std::uint8_t* data, std::size_t size) : left_(std::as_bytes(std::span(data, size))) {}

    template <class T>
    T number() {
        T value{};
        const auto bytes = take(sizeof value);
        std::memcpy(&value, bytes.data(), bytes.size());
        return value;
    }
    // From `low` to `high`.
    std::int64_t between(std::int64_t low, std::int64_t high) {
        return low + static_cast<std::int64_t>(number<std::uint16_t>() %
                                               static_cast<std::uint64_t>(high - low + 1));
    }
    std::span<const std::byte> take(std::size_t most) {
        const auto bytes = left_.first(std::min(most, left_.size()));
        left_ = left_.subspan(bytes.size());
        return bytes;
    }
    std::span<const std::byte> rest() { return take(left_.size()); }
    bool empty() const { return left_.empty(); }

    // As many bytes as are wanted: some of the input, again and again.
    std::vector<std::byte> filled(std::size_t size) {
        const auto piece = take(1 + number<std::uint8_t>());
        std::vector<std::byte> bytes(size);
        for (std::size_t i = 0; i < size && !piece.empty(); ++i) bytes[i] = piece[i % piece.size()];
        return bytes;
    }

  private:
    std::span<const std::byte> left_;
};

// In memory where the system has such a folder, and removed when the process ends well.
class Folder {
  public:
    Folder() {
        const std::filesystem::path memory = "/dev/shm";
        const auto parent =
            std::filesystem::is_directory(memory) ? memory : std::filesystem::temp_directory_path();
        std::string name = (parent / "cachalot-fuzz-XXXXXX").string();
        CACHALOT_CHECK(::mkdtemp(name.data()) != nullptr);
        path_ = name;
    }
    ~Folder() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;

    const std::filesystem::path& path() const { return path_; }

  private:
    std::filesystem::path path_;
};

// Whether the work throws an Error.
template <class Work>
bool refused(const Work& work) {
    try {
        work();
        return false;
    } catch (const Error&) {
        return true;
    }
}

}  // namespace cachalot::fuzz
