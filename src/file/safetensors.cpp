#include "file/safetensors.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <utility>

#include "base/checked.h"
#include "base/error.h"
#include "file/in_quotes.h"
#include "file/json.h"

namespace cachalot {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr std::uint64_t kMaxHeader = 100'000'000;  // the limit of the format's reference implementation
constexpr std::size_t kMaxIndex = 100'000'000;
constexpr std::string_view kIndexName = "model.safetensors.index.json";
constexpr std::string_view kSingleName = "model.safetensors";

constexpr std::array<std::pair<std::string_view, DType>, 8> kTypes = {{
    {"F32", DType::f32},
    {"F16", DType::f16},
    {"BF16", DType::bf16},
    {"I8", DType::i8},
    {"I32", DType::i32},
    {"I64", DType::i64},
    {"F8_E8M0", DType::f8_e8m0},
    {"F8_E4M3", DType::f8_e4m3},
}};

std::optional<DType> find_type(std::string_view name) {
    for (const auto& [known, type] : kTypes)
        if (known == name) return type;
    return std::nullopt;
}

std::string_view as_text(std::span<const std::byte> bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

const json& field(const json& object, const char* name) {
    const auto found = object.find(name);
    if (found == object.end()) fail("'{}' is missing", name);
    return *found;
}

std::vector<std::int64_t> read_integers(const json& value, const char* name) {
    if (!value.is_array()) fail("'{}' is not an array", name);
    if (value.size() > kMaxDimensions) fail("'{}' has {} entries", name, value.size());
    std::vector<std::int64_t> result;
    for (const json& item : value) {
        if (!item.is_number_unsigned()) fail("'{}' holds something other than a natural number", name);
        result.push_back(checked_cast<std::int64_t>(item.get<std::uint64_t>(), name));
    }
    return result;
}

// One entry of the header; `data` are the bytes that its offsets count in. The caller adds the tensor's name
// to errors.
StoredTensor read_tensor(const json& entry, std::span<const std::byte> data) {
    if (!entry.is_object()) fail("the entry is not an object");
    StoredTensor tensor;
    const json& type = field(entry, "dtype");
    if (!type.is_string()) fail("'dtype' is not a string");
    tensor.type = type.get<std::string>();
    tensor.view.shape = read_integers(field(entry, "shape"), "shape");
    const auto offsets = read_integers(field(entry, "data_offsets"), "data_offsets");
    if (entry.size() != 3) fail("the entry has unknown keys");

    if (offsets.size() != 2 || offsets[0] > offsets[1]) fail("'data_offsets' is not [begin, end]");
    const auto begin = static_cast<std::uint64_t>(offsets[0]);
    const auto end = static_cast<std::uint64_t>(offsets[1]);
    if (end > data.size())
        fail("ends at byte {} of {} bytes of data: the file is truncated", end, data.size());

    tensor.offset = begin;
    tensor.view.data = data.subspan(begin, end - begin);
    const auto known = find_type(tensor.type);
    tensor.supported = known.has_value();
    if (known) {
        tensor.view.dtype = *known;
        const std::size_t expected = tensor_bytes(*known, tensor.view.shape);
        if (expected != end - begin)
            fail("{} {} needs {} bytes, but 'data_offsets' spans {}", tensor.type,
                 shape_text(tensor.view.shape), expected, end - begin);
    }
    return tensor;
}

}  // namespace

Safetensors::Safetensors(const fs::path& path) : TensorFile(path.string()) {
    std::error_code ignored;
    fs::path file = path;
    if (fs::is_directory(path, ignored)) {
        file = path / kIndexName;
        if (!fs::exists(file, ignored)) file = path / kSingleName;
        if (!fs::exists(file, ignored)) fail("{}: holds neither {} nor {}", source_, kIndexName, kSingleName);
    }
    if (file.extension() == ".json") {
        open_index(file);
    } else {
        files_.emplace_back(file);
        read_header(files_[0].bytes(), files_[0].path(), 0);
    }
    index_names();
}

Safetensors Safetensors::parse(std::span<const std::byte> bytes, std::string source) {
    Safetensors result(FromMemory{}, std::move(source));
    result.read_header(bytes, result.source_, 0);
    result.index_names();
    return result;
}

void Safetensors::open_index(const fs::path& path) {
    const MappedFile index(path);
    if (index.size() > kMaxIndex) fail("{}: {} bytes are too many for an index", index.path(), index.size());
    std::map<std::string, std::string> file_of;  // by tensor
    std::set<std::string> names;
    const JsonLimits limits{.values = 4 * kMaxTensors};
    parse_json_members(as_text(index.bytes()), index.path(), limits,
                       [&](const std::string& member, json& value) {
                           if (member != "weight_map") return;  // the rest is for people
                           if (!value.is_object()) fail("{}: 'weight_map' is not an object", index.path());
                           for (const auto& [tensor, file] : value.items()) {
                               if (!file.is_string())
                                   fail("{}: tensor {} names no file", index.path(), in_quotes(tensor));
                               const auto& name = file.get_ref<const std::string&>();
                               // The index may only name its neighbours: it must not make us open files
                               // elsewhere.
                               if (name.empty() || name == "." || name == ".." ||
                                   name.find_first_of(std::string_view("/\\\0", 3)) != name.npos)
                                   fail("{}: tensor {} names {}, which is not a plain file name",
                                        index.path(), in_quotes(tensor), in_quotes(name));
                               names.insert(name);
                               file_of.emplace(tensor, name);
                           }
                       });
    if (file_of.empty()) fail("{}: 'weight_map' is missing or empty", index.path());

    for (const std::string& name : names) {
        std::error_code ignored;
        const fs::path file = path.parent_path() / name;
        if (!fs::exists(file, ignored))
            fail("{}: {} is missing, which the index names", source_, in_quotes(name));
        files_.emplace_back(file);
    }
    std::size_t number = 0;
    for (const std::string& name : names) {
        const std::size_t first = tensors_.size();
        read_header(files_[number].bytes(), files_[number].path(), number);
        const auto not_from_here = [&](const StoredTensor& tensor) {
            const auto found = file_of.find(tensor.view.name);
            return found == file_of.end() || found->second != name;
        };
        tensors_.erase(std::remove_if(tensors_.begin() + static_cast<std::ptrdiff_t>(first), tensors_.end(),
                                      not_from_here),
                       tensors_.end());
        ++number;
    }
    if (tensors_.size() != file_of.size()) {
        for (const auto& tensor : tensors_) file_of.erase(tensor.view.name);
        const auto& [tensor, file] = *file_of.begin();
        fail("{}: tensor {} is not in {}, where the index places it", source_, in_quotes(tensor),
             in_quotes(file));
    }
}

void Safetensors::read_header(std::span<const std::byte> bytes, const std::string& source, std::size_t file) {
    std::uint64_t length = 0;
    if (bytes.size() < sizeof(length))
        fail("{}: {} bytes are too few for a safetensors file", source, bytes.size());
    std::memcpy(&length, bytes.data(), sizeof(length));
    const auto rest = bytes.subspan(sizeof(length));
    if (length > kMaxHeader) fail("{}: not a safetensors file (a header of {} bytes)", source, length);
    if (length > rest.size())
        fail("{}: truncated: the header has {} bytes, the rest of the file {}", source, length, rest.size());
    const auto header = as_text(rest.first(length));
    const auto data = rest.subspan(length);
    if (header.empty() || header.front() != '{')
        fail("{}: not a safetensors file (the header does not start with '{{')", source);

    const std::size_t first = tensors_.size();
    const JsonLimits limits{.depth = 3, .members = kMaxTensors};
    parse_json_members(header, source, limits, [&](const std::string& name, json& value) {
        if (name == "__metadata__") {
            if (!value.is_object()) fail("{}: '__metadata__' is not an object", source);
            for (const auto& [key, text] : value.items()) {
                if (!text.is_string()) fail("{}: metadata {} is not a string", source, in_quotes(key));
                if (file == 0) metadata_.emplace(key, text.get<std::string>());
            }
            return;
        }
        try {
            tensors_.push_back(read_tensor(value, data));
        } catch (const Error& error) {
            fail("{}: tensor {}: {}", source, in_quotes(name), error.what());
        }
        StoredTensor& tensor = tensors_.back();
        tensor.view.name = name;
        tensor.file = file;
    });

    // In the order of their bytes the tensors must follow each other without overlap or hole.
    const auto own = std::span(tensors_).subspan(first);
    const auto extent = [](const StoredTensor& t) { return std::pair(t.offset, t.view.data.size()); };
    std::sort(own.begin(), own.end(), [&](const auto& a, const auto& b) { return extent(a) < extent(b); });
    std::uint64_t end = 0;
    for (StoredTensor& tensor : own) {
        if (tensor.offset != end)
            fail("{}: tensor {} starts at byte {} of the data, the one before it ends at {}", source,
                 in_quotes(tensor.view.name), tensor.offset, end);
        end += tensor.view.data.size();
        tensor.offset += sizeof(length) + length;
        if (!tensor.supported) tensor.view.data = {};
    }
    if (end != data.size())
        fail("{}: the tensors end at byte {} of {} bytes of data", source, end, data.size());
}

}  // namespace cachalot
