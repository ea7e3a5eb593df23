#include "file/safetensors.h"

#include <algorithm>
#include <array>
#include <bitset>
#include <cstring>
#include <iterator>
#include <optional>
#include <set>
#include <utility>

#include "base/error.h"
#include "file/foreign_file.h"
#include "file/in_quotes.h"
#include "file/json.h"

namespace cachalot {
namespace {

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

// Reads the JSON header of one file; `data` are the bytes that its offsets count in.
class HeaderReader : public JsonHandler {
  public:
    HeaderReader(std::string_view source, std::span<const std::byte> data) : source_(source), data_(data) {}

    std::vector<StoredTensor> tensors;
    std::map<std::string, std::string> metadata;

    void key(int depth, std::string& name) override {
        if (depth == 1) {
            in_metadata_ = name == "__metadata__";
            if (in_metadata_ && std::exchange(has_metadata_, true)) fail("{}: two '__metadata__'", source_);
            name_ = std::move(name);
        } else if (in_metadata_) {
            metadata_key_ = std::move(name);
        } else {
            const auto known = std::find(kFields.begin(), kFields.end(), name);
            if (known == kFields.end()) refuse("unknown key {}", in_quotes(name));
            field_ = static_cast<Field>(known - kFields.begin());
            if (seen_[field_]) refuse("key {} appears twice", in_quotes(name));
            seen_[field_] = true;
        }
    }
    void open(int depth, bool is_array) override {
        if (depth == 0) return;
        // Objects at depth 1, and arrays at depth 2 for the two fields that are arrays.
        if (is_array != (depth == 2) || (depth == 2 && (in_metadata_ || field_ == kType)))
            refuse_value(is_array ? "an array" : "an object");
        if (depth == 1) {
            if (tensors.size() == kMaxTensors) fail("{}: more than {} tensors", source_, kMaxTensors);
            seen_.reset();
            tensor_ = {};
            offsets_.clear();
        }
    }
    void text(int depth, std::string& value) override {
        if (depth == 2 && in_metadata_) {
            if (!metadata.emplace(metadata_key_, std::move(value)).second)
                fail("{}: metadata {} appears twice", source_, in_quotes(metadata_key_));
        } else if (depth == 2 && field_ == kType) {
            tensor_.type = std::move(value);
        } else {
            refuse_value("a string");
        }
    }
    void natural(int depth, std::uint64_t value) override {
        if (depth != 3) refuse_value("a number");
        if (!std::in_range<std::int64_t>(value)) refuse("{} is out of range", value);
        auto& list = field_ == kShape ? tensor_.view.shape : offsets_;
        if (list.size() == kMaxDimensions)
            refuse("'{}' has more than {} entries", kFields[field_], kMaxDimensions);
        list.push_back(static_cast<std::int64_t>(value));
    }
    void other(int) override { refuse_value("neither a string nor a natural number"); }
    void close(int depth) override {
        if (depth == 1 && !in_metadata_) finish_tensor();
    }

  private:
    enum Field : std::size_t { kType, kShape, kOffsets };
    static constexpr std::array<std::string_view, 3> kFields = {"dtype", "shape", "data_offsets"};

    template <class... Args>
    [[noreturn]] void refuse(fmt::format_string<Args...> format, Args&&... args) const {
        fail("{}: tensor {}: {}", source_, in_quotes(name_),
             fmt::format(format, std::forward<Args>(args)...));
    }
    [[noreturn]] void refuse_value(std::string_view what) const {
        if (in_metadata_) fail("{}: '__metadata__' is not an object of strings", source_);
        refuse("the entry or one of its fields is {}", what);
    }

    void finish_tensor() {
        for (std::size_t i = 0; i < kFields.size(); ++i)
            if (!seen_[i]) refuse("'{}' is missing", kFields[i]);
        if (offsets_.size() != 2 || offsets_[0] > offsets_[1]) refuse("'data_offsets' is not [begin, end]");
        const auto begin = static_cast<std::uint64_t>(offsets_[0]);
        const auto end = static_cast<std::uint64_t>(offsets_[1]);
        if (end > data_.size())
            refuse("ends at byte {} of {} bytes of data: the file is truncated", end, data_.size());

        TensorView& view = tensor_.view;
        view.name = name_;
        view.data = data_.subspan(begin, end - begin);
        tensor_.offset = begin;
        const auto type = find_type(tensor_.type);
        tensor_.supported = type.has_value();
        if (type) {
            view.dtype = *type;
            check_size(end - begin);
        }
        tensors.push_back(std::move(tensor_));
    }

    void check_size(std::uint64_t size) const {
        const TensorView& view = tensor_.view;
        std::size_t expected = 0;
        try {
            expected = tensor_bytes(view.dtype, view.shape);
        } catch (const Error& error) {
            refuse("{}", error.what());
        }
        if (expected != size)
            refuse("{} {} needs {} bytes, but 'data_offsets' spans {}", tensor_.type, shape_text(view.shape),
                   expected, size);
    }

    std::string_view source_;
    std::span<const std::byte> data_;

    std::string name_;  // of the entry that we are in
    bool in_metadata_ = false;
    bool has_metadata_ = false;
    std::string metadata_key_;
    Field field_ = kType;
    std::bitset<kFields.size()> seen_;
    StoredTensor tensor_;
    std::vector<std::int64_t> offsets_;
};

// Reads model.safetensors.index.json: {"weight_map": {tensor: file, ...}, ...}; the rest is for people.
class IndexReader : public JsonHandler {
  public:
    explicit IndexReader(std::string_view source) : source_(source) {}

    struct Place {
        std::string tensor;
        std::size_t file;
    };
    std::vector<Place> places;  // sorted by tensor after finish()
    std::vector<std::string> files;

    void key(int depth, std::string& name) override {
        if (depth == 1) {
            in_map_ = name == "weight_map";
            if (in_map_ && std::exchange(has_map_, true)) fail("{}: two 'weight_map'", source_);
        } else if (depth == 2 && in_map_) {
            tensor_ = std::move(name);
        }
    }
    void text(int depth, std::string& value) override {
        if (!in_map_) return;
        if (depth != 2) refuse();
        // The index may only name its neighbours: it must not make us open files elsewhere.
        constexpr std::string_view kSeparators("/\\\0", 3);
        if (value.empty() || value == "." || value == ".." || value.find_first_of(kSeparators) != value.npos)
            fail("{}: tensor {} names {}, which is not a plain file name", source_, in_quotes(tensor_),
                 in_quotes(value));
        if (places.size() == kMaxTensors) fail("{}: more than {} tensors", source_, kMaxTensors);
        const auto [found, is_new] = numbers_.emplace(value, files.size());
        if (is_new) files.push_back(value);
        places.push_back({std::move(tensor_), found->second});
    }
    void natural(int, std::uint64_t) override { refuse_in_map(); }
    void other(int) override { refuse_in_map(); }
    void open(int depth, bool is_array) override {
        if (depth != 1 || is_array) refuse_in_map();
    }
    void close(int) override {}

    void finish() {
        if (places.empty()) fail("{}: 'weight_map' is missing or empty", source_);
        std::sort(places.begin(), places.end(),
                  [](const Place& a, const Place& b) { return a.tensor < b.tensor; });
        for (std::size_t i = 1; i < places.size(); ++i)
            if (places[i].tensor == places[i - 1].tensor)
                fail("{}: tensor {} appears twice", source_, in_quotes(places[i].tensor));
    }

    bool places_in(const std::string& tensor, std::size_t file) const {
        const auto found =
            std::lower_bound(places.begin(), places.end(), tensor,
                             [](const Place& a, const std::string& b) { return a.tensor < b; });
        return found != places.end() && found->tensor == tensor && found->file == file;
    }

  private:
    [[noreturn]] void refuse() const { fail("{}: 'weight_map' is not an object of file names", source_); }
    void refuse_in_map() const {
        if (in_map_) refuse();
    }

    std::string_view source_;
    bool in_map_ = false;
    bool has_map_ = false;
    std::string tensor_;
    std::map<std::string, std::size_t> numbers_;  // by file
};

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
    IndexReader reader(index.path());
    scan_json(as_text(index.bytes()), index.path(), 16, reader);
    reader.finish();

    for (std::size_t file = 0; file < reader.files.size(); ++file) {
        const fs::path shard = path.parent_path() / reader.files[file];
        std::error_code ignored;
        if (!fs::exists(shard, ignored))
            fail("{}: {} is missing, which the index names; download the rest of the release", source_,
                 in_quotes(reader.files[file]));
        files_.emplace_back(shard);
        const std::size_t first = tensors_.size();
        read_header(files_[file].bytes(), files_[file].path(), file);
        const auto elsewhere = [&](const StoredTensor& t) { return !reader.places_in(t.view.name, file); };
        tensors_.erase(
            std::remove_if(tensors_.begin() + static_cast<std::ptrdiff_t>(first), tensors_.end(), elsewhere),
            tensors_.end());
    }
    if (tensors_.size() == reader.places.size()) return;
    std::set<std::string_view> present;
    for (const StoredTensor& tensor : tensors_) present.insert(tensor.view.name);
    for (const auto& [tensor, file] : reader.places)
        if (present.count(tensor) == 0)
            fail("{}: tensor {} is not in {}, where the index places it", source_, in_quotes(tensor),
                 in_quotes(reader.files[file]));
}

void Safetensors::read_header(std::span<const std::byte> bytes, const std::string& source, std::size_t file) {
    std::uint64_t length = 0;
    if (bytes.size() <= sizeof(length) || static_cast<char>(bytes[sizeof(length)]) != '{')
        if (const auto what = foreign_file(bytes); !what.empty())
            fail("{}: not a safetensors file: it {}{}", source, what, unfinished_name(source));
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

    HeaderReader reader(source, data);
    scan_json(header, source + ": the header", 3, reader);
    if (file == 0) metadata_ = std::move(reader.metadata);

    // In the order of their bytes the tensors must follow each other without overlap or hole.
    auto& own = reader.tensors;
    const auto extent = [](const StoredTensor& t) { return std::pair(t.offset, t.view.data.size()); };
    std::sort(own.begin(), own.end(), [&](const auto& a, const auto& b) { return extent(a) < extent(b); });
    std::uint64_t end = 0;
    for (StoredTensor& tensor : own) {
        if (tensor.offset != end)
            fail("{}: tensor {} starts at byte {} of the data, the one before it ends at {}", source,
                 in_quotes(tensor.view.name), tensor.offset, end);
        end += tensor.view.data.size();
        tensor.offset += sizeof(length) + length;
        tensor.file = file;
        if (!tensor.supported) tensor.view.data = {};
    }
    if (end != data.size())
        fail("{}: the tensors end at byte {} of {} bytes of data", source, end, data.size());
    tensors_.insert(tensors_.end(), std::make_move_iterator(own.begin()), std::make_move_iterator(own.end()));
}

}  // namespace cachalot
