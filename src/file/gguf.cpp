#include "file/gguf.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "base/checked.h"
#include "base/error.h"
#include "file/byte_reader.h"
#include "file/foreign_file.h"
#include "file/gguf_format.h"
#include "file/in_quotes.h"

namespace cachalot {
namespace {

namespace fs = std::filesystem;

constexpr std::uint32_t kMaxAlignment = 1u << 30;

std::string part_suffix(std::uint64_t number, std::uint64_t count) {  // number from 1
    return fmt::format("-{:05}-of-{:05}.gguf", number, count);
}

void check_header(ByteReader& reader, std::span<const std::byte> bytes, const std::string& source) {
    const auto is_magic = [](std::span<const std::byte> magic) {
        return std::equal(magic.begin(), magic.end(), kGgufMagic.begin(), kGgufMagic.end(),
                          [](std::byte a, char b) { return static_cast<char>(a) == b; });
    };
    if (const auto start = bytes.first(std::min(bytes.size(), kGgufMagic.size())); !is_magic(start)) {
        if (const auto what = foreign_file(bytes); !what.empty())
            fail("{}: not a GGUF file: it {}{}", source, what, unfinished_name(source));
        fail("{}: not a GGUF file (it does not start with '{}'){}", source, kGgufMagic,
             unfinished_name(source));
    }
    (void)reader.take(kGgufMagic.size(), "the magic");
    const auto version = reader.read<std::uint32_t>("the version");
    if (version == 2u << 24 || version == 3u << 24) fail("{}: is a big-endian GGUF file", source);
    if (version != 2 && version != 3)
        fail("{}: is GGUF version {}; versions 2 and 3 are supported", source, version);
}

// One entry of the directory. Its data is attached later, when the start of the data is known.
struct Entry {
    StoredTensor tensor;
    std::uint32_t type;
};

Entry read_entry(ByteReader& reader, const std::string& source) {
    Entry entry{};
    TensorView& view = entry.tensor.view;
    view.name = reader.read_string("a tensor's name");
    const auto dimensions = reader.read<std::uint32_t>("a tensor's number of dimensions");
    if (dimensions > kMaxDimensions)
        fail("{}: tensor {} has {} dimensions", source, in_quotes(view.name), dimensions);
    for (std::uint32_t i = 0; i < dimensions; ++i) {
        const auto size = reader.read<std::uint64_t>("a tensor's dimension");
        if (!std::in_range<std::int64_t>(size))
            fail("{}: tensor {} has a dimension of {}", source, in_quotes(view.name), size);
        view.shape.push_back(static_cast<std::int64_t>(size));
    }
    std::reverse(view.shape.begin(), view.shape.end());
    entry.type = reader.read<std::uint32_t>("a tensor's type");
    entry.tensor.type = ggml_type_name(entry.type);
    entry.tensor.offset = reader.read<std::uint64_t>("a tensor's offset");
    return entry;
}

// Checks that the tensor lies in `data`; the caller adds the tensor's name to errors.
void attach(Entry& entry, std::span<const std::byte> data, std::uint32_t alignment) {
    const std::uint64_t offset = entry.tensor.offset;
    if (offset % alignment != 0) fail("offset {} is not a multiple of {}", offset, alignment);
    if (offset > data.size())
        fail("starts at byte {} of {} bytes of data: the file is truncated", offset, data.size());
    const auto type = dtype_from_ggml(entry.type);
    entry.tensor.supported = type.has_value();
    if (!type) return;
    const std::size_t size = tensor_bytes(*type, entry.tensor.view.shape);
    if (size > data.size() - offset)
        fail("{} {} needs {} bytes from byte {} of {} bytes of data: the file is truncated",
             entry.tensor.type, shape_text(entry.tensor.view.shape), size, offset, data.size());
    entry.tensor.view.dtype = *type;
    entry.tensor.view.data = data.subspan(offset, size);
}

}  // namespace

Gguf::Gguf(const fs::path& path) : TensorFile(path.string()) {
    files_.emplace_back(path);
    metadata_ = read_part(files_[0].bytes(), source_, 0);
    open_other_parts(path);
    index_names();
}

Gguf Gguf::parse(std::span<const std::byte> bytes, std::string source) {
    Gguf result(FromMemory{}, std::move(source));
    result.metadata_ = result.read_part(bytes, result.source_, 0);
    result.index_names();
    return result;
}

void Gguf::take(Gguf other, std::span<const std::string> names) {
    for (const std::string& name : names) {
        StoredTensor tensor = other.stored(name);
        tensor.file += files_.size();
        tensors_.push_back(std::move(tensor));
    }
    for (MappedFile& file : other.files_) files_.push_back(std::move(file));
    index_names();
}

GgufMetadata Gguf::read_part(std::span<const std::byte> bytes, const std::string& source, std::size_t file) {
    ByteReader reader(bytes, source);
    check_header(reader, bytes, source);
    const auto tensor_count = reader.read<std::uint64_t>("the number of tensors");
    const auto key_count = reader.read<std::uint64_t>("the number of keys");
    GgufMetadata metadata(reader, key_count, source);

    const auto alignment = metadata.get_or<std::uint32_t>("general.alignment", kGgufAlignment);
    if (!std::has_single_bit(alignment) || alignment > kMaxAlignment)
        fail("{}: general.alignment is {}, expected a power of two", source, alignment);

    constexpr std::uint64_t kSmallestEntry = 8 + 4 + 4 + 8;  // empty name, no dimensions, type, offset
    if (tensor_count > kMaxTensors || tensor_count > reader.left() / kSmallestEntry)
        fail("{}: claims {} tensors, more than it could hold", source, tensor_count);
    std::vector<Entry> entries;
    entries.reserve(tensor_count);
    for (std::uint64_t i = 0; i < tensor_count; ++i) entries.push_back(read_entry(reader, source));

    // A file without tensors may end right after its directory.
    const std::uint64_t padding = (alignment - reader.offset() % alignment) % alignment;
    const std::uint64_t start = std::min<std::uint64_t>(reader.offset() + padding, bytes.size());
    const auto data = bytes.subspan(start);
    for (Entry& entry : entries) {
        try {
            attach(entry, data, alignment);
        } catch (const Error& error) {
            fail("{}: tensor {}: {}{}", source, in_quotes(entry.tensor.view.name), error.what(),
                 unfinished_name(source));
        }
        entry.tensor.offset += start;
        entry.tensor.file = file;
        tensors_.push_back(std::move(entry.tensor));
    }
    return metadata;
}

void Gguf::open_other_parts(const fs::path& path) {
    const auto count = metadata_.get_or<std::uint32_t>("split.count", 1);
    if (count <= 1) return;
    const auto number = metadata_.get_or<std::uint32_t>("split.no", 0);  // from 0
    std::string base = path.string();
    const auto strip = [&](const std::string& suffix) {
        if (!base.ends_with(suffix))
            fail("{}: is part {} of {}, so its name must end in {}", source_, number + 1ull, count, suffix);
        base.resize(base.size() - suffix.size());
    };
    strip(part_suffix(number + 1ull, count));
    if (number != 0)
        fail("{}: is part {} of {}; open the first part, {}{}", source_, number + 1ull, count, base,
             part_suffix(1, count));

    for (std::uint32_t i = 1; i < count; ++i) {
        const std::string part = base + part_suffix(i + 1ull, count);
        std::error_code ignored;
        if (!fs::exists(part, ignored))
            fail("{}: part {} of {} is missing: {}; all parts must lie in one folder", source_, i + 1ull,
                 count, part);
        files_.emplace_back(part);
        const GgufMetadata own = read_part(files_.back().bytes(), part, i);
        const auto own_number = own.get<std::uint32_t>("split.no");
        const auto own_count = own.get<std::uint32_t>("split.count");
        if (own_number != i || own_count != count)
            fail("{}: says that it is part {} of {}, expected part {} of {}", part, own_number + 1ull,
                 own_count, i + 1ull, count);
    }
    const auto total = metadata_.find<std::uint64_t>("split.tensors.count");
    if (total && *total != tensors_.size())
        fail("{}: the {} parts hold {} tensors, expected {}", source_, count, tensors_.size(), *total);
}

}  // namespace cachalot
