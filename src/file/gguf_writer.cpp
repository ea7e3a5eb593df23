#include "file/gguf_writer.h"

#include <algorithm>
#include <array>

#include <xxhash.h>

#include "base/checked.h"
#include "base/error.h"
#include "file/in_quotes.h"
#include "file/tensor_file.h"

namespace cachalot {
namespace {

constexpr std::size_t kMaxName = 63;           // ggml's readers keep names in 64 bytes
constexpr std::size_t kMaxGgmlDimensions = 4;  // likewise

std::uint64_t aligned(std::uint64_t size) {
    return checked_add<std::uint64_t>(size, kGgufAlignment - 1, "file size") / kGgufAlignment *
           kGgufAlignment;
}

std::span<const std::byte> as_bytes(std::string_view text) { return std::as_bytes(std::span(text)); }

constexpr std::array<std::byte, kGgufAlignment> kZeros = {};

}  // namespace

GgufWriter::GgufWriter(const std::filesystem::path& path) : file_(path) {}

bool GgufWriter::is_container_key(std::string_view key) {
    return key == "general.alignment" || key.starts_with("split.");
}

void GgufWriter::set_value(std::string_view key, GgufType type, std::string_view encoded) {
    CACHALOT_CHECK(!data_started_);
    CACHALOT_CHECK(!is_container_key(key));
    auto found = std::find_if(keys_.begin(), keys_.end(), [&](const Key& k) { return k.name == key; });
    if (found == keys_.end()) found = keys_.insert(keys_.end(), {std::string(key), {}});
    found->encoded.clear();
    put(found->encoded, static_cast<std::uint32_t>(type));
    found->encoded += encoded;
}

void GgufWriter::copy(const GgufValue& value) {
    std::string bytes;
    if (value.is_array) {
        put(bytes, static_cast<std::uint32_t>(value.type));
        put(bytes, value.count);
    }
    bytes.append(reinterpret_cast<const char*>(value.bytes.data()), value.bytes.size());
    set_value(value.key, value.is_array ? GgufType::array : value.type, bytes);
}

void GgufWriter::remove(std::string_view key) {
    CACHALOT_CHECK(!data_started_);
    std::erase_if(keys_, [&](const Key& k) { return k.name == key; });
}

void GgufWriter::remove_all(std::string_view prefix) {
    CACHALOT_CHECK(!data_started_);
    std::erase_if(keys_, [&](const Key& k) { return k.name.starts_with(prefix); });
}

void GgufWriter::declare(std::string_view name, DType type, std::span<const std::int64_t> shape) {
    CACHALOT_CHECK(!data_started_);
    if (name.size() > kMaxName)
        fail("{}: the name {} is longer than {} bytes", file_.path(), in_quotes(name), kMaxName);
    if (shape.size() > kMaxGgmlDimensions)
        fail("{}: tensor {} has {} dimensions, GGUF allows {}", file_.path(), in_quotes(name), shape.size(),
             kMaxGgmlDimensions);
    for (const Tensor& tensor : tensors_)
        if (tensor.name == name) fail("{}: tensor {} appears twice", file_.path(), in_quotes(name));
    try {
        const std::uint64_t size = tensor_bytes(type, shape);
        const std::uint64_t offset = data_size_;
        data_size_ = aligned(checked_add(offset, size, "file size"));
        tensors_.push_back(
            {std::string(name), ggml_from_dtype(type), {shape.begin(), shape.end()}, offset, size});
    } catch (const Error& error) {
        fail("{}: tensor {}: {}", file_.path(), in_quotes(name), error.what());
    }
}

void GgufWriter::declare_zeros(std::string_view name, DType type, std::span<const std::int64_t> shape) {
    declare(name, type, shape);
    tensors_.back().hole = true;
}

std::string GgufWriter::header() const {
    std::string bytes(kGgufMagic);
    put(bytes, kGgufVersion);
    put(bytes, std::uint64_t{tensors_.size()});
    put(bytes, std::uint64_t{keys_.size()});
    for (const Key& key : keys_) {
        put(bytes, std::string_view(key.name));
        bytes += key.encoded;
    }
    for (const Tensor& tensor : tensors_) {
        put(bytes, std::string_view(tensor.name));
        put(bytes, static_cast<std::uint32_t>(tensor.shape.size()));
        for (auto i = tensor.shape.rbegin(); i != tensor.shape.rend(); ++i)
            put(bytes, static_cast<std::uint64_t>(*i));
        put(bytes, tensor.type);
        put(bytes, tensor.offset);
    }
    bytes.resize(aligned(bytes.size()));
    return bytes;
}

std::uint64_t GgufWriter::file_size() const {
    return checked_add<std::uint64_t>(header().size(), data_size_, "file size");
}

void GgufWriter::start_data() {
    if (data_started_) return;
    const std::string bytes = header();
    std::uint64_t holes = 0;
    for (const Tensor& tensor : tensors_) holes += tensor.hole ? tensor.size : 0;
    file_.reserve(checked_add<std::uint64_t>(bytes.size(), data_size_, "file size"), holes);
    emit(as_bytes(bytes));
    data_started_ = true;
    complete_tensors();
}

// Pads and leaves behind the tensors that have all their bytes; some have none, and zeros come by themselves.
void GgufWriter::complete_tensors() {
    while (current_ < tensors_.size()) {
        if (const Tensor& tensor = tensors_[current_]; tensor.hole) {
            if (position_ >= resumed_) file_.skip(tensor.size);
            position_ += tensor.size;
            filled_ = tensor.size;
        }
        if (filled_ != tensors_[current_].size) return;
        emit(std::span(kZeros).first(aligned(filled_) - filled_));
        ++current_;
        filled_ = 0;
    }
}

void GgufWriter::append(std::string_view name, std::span<const std::byte> bytes) {
    start_data();
    if (bytes.empty()) return;
    CACHALOT_CHECK(position_ >= resumed_);
    advance(name, bytes.size());
    emit(bytes);
    complete_tensors();
}

void GgufWriter::advance(std::string_view name, std::uint64_t size) {
    CACHALOT_CHECK(current_ < tensors_.size());
    CACHALOT_CHECK(tensors_[current_].name == name);
    CACHALOT_CHECK(size <= tensors_[current_].size - filled_);
    filled_ += size;
}

// Writes what is not in the file yet. Promises are made between appends, so header and padding are there
// whole or not.
void GgufWriter::emit(std::span<const std::byte> bytes) {
    if (position_ >= resumed_) file_.write(bytes);
    position_ += bytes.size();
}

std::uint64_t GgufWriter::resume(std::string_view version, bool replace) {
    CACHALOT_CHECK(!data_started_);
    const std::string bytes = header();
    const auto hash =
        XXH3_128bits_withSeed(bytes.data(), bytes.size(), XXH3_64bits(version.data(), version.size()));
    resumed_ = file_.resume(fmt::format("{:016x}{:016x}", hash.high64, hash.low64), replace);
    return resumed_;
}

bool GgufWriter::skip(std::string_view name, std::uint64_t size) {
    start_data();
    if (position_ >= resumed_) return false;
    CACHALOT_CHECK(size <= resumed_ - position_);
    advance(name, size);
    position_ += size;
    complete_tensors();
    return true;
}

void GgufWriter::finish() {
    start_data();
    CACHALOT_CHECK(current_ == tensors_.size());
    file_.commit();
}

}  // namespace cachalot
