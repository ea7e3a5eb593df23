// Writer of GGUF files (version 3), for models larger than memory.
//
// The directory stands before the data, so everything must be declared first; then the bytes flow through:
//
//     GgufWriter writer("model.gguf");
//     writer.set<std::uint32_t>("deepseek4.block_count", 43);
//     writer.declare("output_norm.weight", DType::f32, {4096});
//     ...
//     writer.append("output_norm.weight", bytes);   // in the order of declaration, in pieces of any size
//     ...
//     writer.finish();
//
// The file appears under its name only when it is complete: until `finish` it has a temporary name beside it,
// which the destructor removes. The disk space is reserved when the first byte is appended, so that a full
// disk is reported at once and not after an hour of work.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <ranges>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "file/gguf_format.h"
#include "file/gguf_metadata.h"
#include "file/output_file.h"
#include "tensor/dtype.h"

namespace cachalot {

class GgufWriter {
  public:
    explicit GgufWriter(const std::filesystem::path& path);

    // A writer whose work survives being killed (output_file.h says how). After the declarations, `resume`
    // says whether there is something to go on with: the bytes for which `skip` is true are in the file.
    GgufWriter(const std::filesystem::path& path, OutputFile::Resumable resumable) : file_(path, resumable) {}
    // `version` stands for everything that decides about the data and is not in the directory. `replace` is
    // that of OutputFile::resume. Returns bytes of the file.
    std::uint64_t resume(std::string_view version, bool replace = false);
    // In place of append() for the next bytes of a tensor. Once it is false it remains so.
    bool skip(std::string_view name, std::uint64_t size);
    // Between two appends: what has been appended will survive.
    void checkpoint() { file_.checkpoint(); }

    // --- First: metadata and directory. A key that is set again replaces its value.

    // T is bool, float, double or a fixed-width integer; spell it out, because it is the type in the file.
    template <class T>
    void set(std::string_view key, std::type_identity_t<T> value) {
        std::string bytes;
        put(bytes, value);
        set_value(key, gguf_type<T>(), bytes);
    }
    void set(std::string_view key, std::string_view text) {
        std::string bytes;
        put(bytes, text);
        set_value(key, GgufType::string, bytes);
    }

    // An array of T as above, or of strings from any range of std::string or std::string_view.
    template <class T>
    void set_array(std::string_view key, std::span<const T> values) {
        set_range(key, gguf_type<T>(), values);
    }
    template <std::ranges::sized_range Range>
    requires std::convertible_to<std::ranges::range_reference_t<const Range>, std::string_view>
    void set_strings(std::string_view key, const Range& values) { set_range(key, GgufType::string, values); }

    // Copies a value of another file unchanged. Must not be called for keys that describe a file rather than
    // a model, see `is_container_key`.
    void copy(const GgufValue& value);
    void remove(std::string_view key);
    // All keys that begin so.
    void remove_all(std::string_view prefix);
    // general.alignment, split.*: each file has its own.
    static bool is_container_key(std::string_view key);

    // Announces a tensor; shape outermost first. Throws Error if GGUF cannot hold it.
    void declare(std::string_view name, DType type, std::span<const std::int64_t> shape);
    void declare(std::string_view name, DType type, std::initializer_list<std::int64_t> shape) {
        declare(name, type, std::span(shape.begin(), shape.size()));
    }
    // The same for a tensor whose bytes are all zero. They are not appended, and take no space where the file
    // system has holes; none of the file's space is set aside then.
    void declare_zeros(std::string_view name, DType type, std::span<const std::int64_t> shape);

    // The size of the file that the declarations so far lead to, in bytes.
    std::uint64_t file_size() const;

    // --- Then: the data.

    // The next bytes of the tensor `name`, whose turn it must be. Throws Error if the disk is full.
    void append(std::string_view name, std::span<const std::byte> bytes);

    // Makes the file durable and gives it its name. All tensors must be complete.
    void finish();

  private:
    struct Tensor {
        std::string name;
        std::uint32_t type;
        std::vector<std::int64_t> shape;
        std::uint64_t offset;  // in data
        std::uint64_t size;
        bool hole = false;  // nothing but zeros, which are not written
    };
    struct Key {
        std::string name;
        std::string encoded;  // type and value
    };

    template <class T>
    static constexpr GgufType gguf_type() {
        if constexpr (std::same_as<T, bool>)
            return GgufType::boolean;
        else if constexpr (std::same_as<T, float>)
            return GgufType::f32;
        else if constexpr (std::same_as<T, double>)
            return GgufType::f64;
        else if constexpr (std::same_as<T, std::uint8_t>)
            return GgufType::u8;
        else if constexpr (std::same_as<T, std::int8_t>)
            return GgufType::i8;
        else if constexpr (std::same_as<T, std::uint16_t>)
            return GgufType::u16;
        else if constexpr (std::same_as<T, std::int16_t>)
            return GgufType::i16;
        else if constexpr (std::same_as<T, std::uint32_t>)
            return GgufType::u32;
        else if constexpr (std::same_as<T, std::int32_t>)
            return GgufType::i32;
        else if constexpr (std::same_as<T, std::uint64_t>)
            return GgufType::u64;
        else {
            static_assert(std::same_as<T, std::int64_t>, "not a type of GGUF");
            return GgufType::i64;
        }
    }

    template <class T>
    requires std::is_arithmetic_v<T>
    static void put(std::string& bytes, T value) {
        bytes.append(reinterpret_cast<const char*>(&value), sizeof(value));
    }
    static void put(std::string& bytes, std::string_view text) {
        put(bytes, std::uint64_t{text.size()});
        bytes.append(text);
    }
    template <class Range>
    void set_range(std::string_view key, GgufType type, const Range& values) {
        std::string bytes;
        put(bytes, static_cast<std::uint32_t>(type));
        put(bytes, std::uint64_t{std::ranges::size(values)});
        for (const auto& value : values) {
            if constexpr (std::is_arithmetic_v<std::remove_cvref_t<decltype(value)>>)
                put(bytes, value);
            else
                put(bytes, std::string_view(value));
        }
        set_value(key, GgufType::array, bytes);
    }

    void set_value(std::string_view key, GgufType type, std::string_view encoded);
    std::string header() const;
    void start_data();
    void complete_tensors();
    void advance(std::string_view name, std::uint64_t size);
    void emit(std::span<const std::byte> bytes);

    OutputFile file_;
    std::vector<Key> keys_;
    std::vector<Tensor> tensors_;
    std::uint64_t data_size_ = 0;  // declared
    bool data_started_ = false;
    std::size_t current_ = 0;                   // the tensor whose turn it is
    std::uint64_t filled_ = 0;                  // bytes of it that have been appended
    std::uint64_t position_ = 0, resumed_ = 0;  // bytes of the file: so far, and those that were there before
};

}  // namespace cachalot
