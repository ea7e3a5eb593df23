#include "model/importance.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/error.h"
#include "file/foreign_file.h"
#include "file/gguf_format.h"
#include "file/gguf_writer.h"
#include "file/in_quotes.h"

namespace cachalot {
namespace {

constexpr std::string_view kSums = ".in_sum2", kCounts = ".counts";
constexpr float kMostTokens = 1e15f;  // of a count: no more is believed

std::vector<float> floats_of(const Gguf& file, const std::string& name) {
    const TensorView& tensor = file.get(name);
    if (tensor.dtype != DType::f32)
        fail("{}: tensor {} is {}, expected F32", file.source(), in_quotes(name),
             cachalot::name(tensor.dtype));
    std::vector<float> values(tensor.data.size() / sizeof(float));
    if (!values.empty()) std::memcpy(values.data(), tensor.data.data(), values.size() * sizeof(float));
    for (float v : values)
        if (!(v >= 0) || std::isinf(v))
            fail("{}: tensor {} holds {}; sums of squares and counts are never negative", file.source(),
                 in_quotes(name), v);
    return values;
}

ImportanceMatrix::Entry read_entry(const Gguf& file, const std::string& tensor) {
    ImportanceMatrix::Entry entry;
    entry.sums = floats_of(file, tensor + std::string(kSums));
    const auto counts = floats_of(file, tensor + std::string(kCounts));
    entry.experts = static_cast<std::int64_t>(counts.size());
    if (counts.empty() || entry.sums.empty() || entry.sums.size() % counts.size() != 0)
        fail("{}: {} has {} sums for {} counts", file.source(), in_quotes(tensor), entry.sums.size(),
             counts.size());
    entry.columns = static_cast<std::int64_t>(entry.sums.size()) / entry.experts;
    for (float count : counts) {
        if (count > kMostTokens) fail("{}: {} counts {} tokens", file.source(), in_quotes(tensor), count);
        entry.counts.push_back(std::llround(count));
    }
    return entry;
}

std::span<const std::byte> bytes_of(const std::vector<float>& values) {
    return std::as_bytes(std::span(values));
}

// [columns]
std::vector<float> divided(std::span<const double> sums, std::int64_t count) {
    std::vector<float> mean(sums.size());
    for (std::size_t c = 0; c < sums.size(); ++c)
        mean[c] = static_cast<float>(sums[c] / static_cast<double>(count));
    return mean;
}

void check_shape(std::string_view tensor, const ImportanceMatrix::Entry& entry, std::int64_t experts,
                 std::int64_t columns) {
    if (entry.experts != experts || entry.columns != columns)
        fail(
            "importance of {}: {} experts of {} columns are known, {} of {} are wanted: "
            "it was made with another model",
            in_quotes(tensor), entry.experts, entry.columns, experts, columns);
}

}  // namespace

ImportanceMatrix ImportanceMatrix::load(const std::filesystem::path& path) {
    const MappedFile file(path);
    const auto bytes = file.bytes();
    const auto magic = std::as_bytes(std::span(kGgufMagic));
    if (bytes.size() < magic.size() || !std::equal(magic.begin(), magic.end(), bytes.begin())) {
        const auto what = known_format(bytes);
        fail("{}: is no importance matrix, {}", path.string(),
             what.empty()
                 ? "which is a GGUF file that imatrix writes (llama.cpp's older .dat files are not read)"
                 : "it " + what);
    }
    return parse(Gguf(path));
}

ImportanceMatrix ImportanceMatrix::parse(const Gguf& file) {
    const auto& keys = file.metadata();
    const auto type = keys.find<std::string_view>("general.type");
    if (type != "imatrix")
        fail("{}: not an importance matrix (general.type is {}, expected 'imatrix')", file.source(),
             type ? in_quotes(*type) : "absent");
    ImportanceMatrix result;
    for (std::string_view text :
         keys.get_or<std::vector<std::string_view>>("imatrix.datasets", std::vector<std::string_view>{}))
        result.datasets.emplace_back(text);
    result.chunk_count = keys.get_or<std::uint32_t>("imatrix.chunk_count", 0);
    result.chunk_size = keys.get_or<std::uint32_t>("imatrix.chunk_size", 0);
    result.text = keys.get_or<std::string_view>("cachalot.imatrix.text", "");
    result.text_chunks = keys.get_or<std::uint32_t>("cachalot.imatrix.text_chunks", 0);
    for (const StoredTensor& stored : file.tensors()) {
        const std::string& name = stored.view.name;
        if (name.ends_with(kCounts) &&
            !file.contains(name.substr(0, name.size() - kCounts.size()) + std::string(kSums)))
            fail("{}: {} has no sums beside it", file.source(), in_quotes(name));
        if (!name.ends_with(kSums)) continue;
        const auto tensor = name.substr(0, name.size() - kSums.size());
        result.entries_.emplace(tensor, read_entry(file, tensor));
    }
    if (result.entries_.empty()) fail("{}: holds no importance of any tensor", file.source());
    return result;
}

void ImportanceMatrix::save(const std::filesystem::path& path) const {
    GgufWriter writer(path);
    writer.set("general.type", "imatrix");
    writer.set_strings("imatrix.datasets", datasets);
    writer.set<std::uint32_t>("imatrix.chunk_count", chunk_count);
    writer.set<std::uint32_t>("imatrix.chunk_size", chunk_size);
    if (!text.empty()) {
        writer.set("cachalot.imatrix.text", text);
        writer.set<std::uint32_t>("cachalot.imatrix.text_chunks", text_chunks);
    }
    for (const auto& [tensor, entry] : entries_) {
        for (float sum : entry.sums)
            if (!std::isfinite(sum))
                fail("{}: the inputs of {} are not finite: the model is damaged", path.string(),
                     in_quotes(tensor));
        writer.declare(tensor + std::string(kSums), DType::f32, {entry.experts, entry.columns});
        writer.declare(tensor + std::string(kCounts), DType::f32, {entry.experts, 1});
    }
    for (const auto& [tensor, entry] : entries_) {
        writer.append(tensor + std::string(kSums), bytes_of(entry.sums));
        writer.append(tensor + std::string(kCounts), bytes_of({entry.counts.begin(), entry.counts.end()}));
    }
    writer.finish();
}

std::uint64_t ImportanceMatrix::file_bytes() const {
    std::uint64_t figures = 0;
    for (const auto& [tensor, entry] : entries_) figures += entry.sums.size() + entry.counts.size();
    return figures * sizeof(float);
}

const ImportanceMatrix::Entry* ImportanceMatrix::checked(std::string_view tensor, std::int64_t expert,
                                                         std::int64_t columns) const {
    const auto found = entries_.find(tensor);
    if (found == entries_.end()) return nullptr;
    const Entry& entry = found->second;
    if (expert < 0 || expert >= entry.experts || entry.columns != columns)
        check_shape(tensor, entry, expert + 1, columns);
    return &entry;
}

std::vector<float> ImportanceMatrix::find(std::string_view tensor, std::int64_t expert,
                                          std::int64_t columns) const {
    const Entry* entry = checked(tensor, expert, columns);
    if (!entry || entry->counts[static_cast<std::size_t>(expert)] == 0) return {};
    const auto first = entry->sums.begin() + expert * columns;
    return divided(std::vector<double>(first, first + columns),
                   entry->counts[static_cast<std::size_t>(expert)]);
}

std::vector<float> ImportanceMatrix::mean(std::string_view tensor, std::int64_t columns) const {
    const Entry* entry = checked(tensor, 0, columns);
    if (!entry) return {};
    std::vector<double> sums(static_cast<std::size_t>(columns));
    std::int64_t count = 0;
    for (std::size_t e = 0; e < entry->counts.size(); ++e) {
        count += entry->counts[e];
        for (std::size_t c = 0; c < sums.size() && entry->counts[e]; ++c)
            sums[c] += entry->sums[e * sums.size() + c];
    }
    if (count == 0) return {};
    return divided(sums, count);
}

ImportanceMatrix::Entry& ImportanceMatrix::entry(std::string_view tensor, std::int64_t experts,
                                                 std::int64_t columns) {
    auto found = entries_.find(tensor);
    if (found == entries_.end()) {
        found = entries_.emplace(tensor, Entry{experts, columns, {}, {}}).first;
        found->second.sums.resize(static_cast<std::size_t>(experts * columns));
        found->second.counts.resize(static_cast<std::size_t>(experts));
    }
    check_shape(tensor, found->second, experts, columns);
    return found->second;
}

void ImportanceMatrix::merge(const ImportanceMatrix& other) {
    for (const auto& [tensor, more] : other.entries_)
        if (const auto own = entries_.find(tensor); own != entries_.end())
            check_shape(tensor, own->second, more.experts, more.columns);
    for (const auto& [tensor, more] : other.entries_) {
        Entry& own = entry(tensor, more.experts, more.columns);
        for (std::size_t i = 0; i < own.sums.size(); ++i) own.sums[i] += more.sums[i];
        for (std::size_t i = 0; i < own.counts.size(); ++i) own.counts[i] += more.counts[i];
    }
    datasets.insert(datasets.end(), other.datasets.begin(), other.datasets.end());
    // Pieces of another size are counted as if they had had this one's.
    if (chunk_size == 0) chunk_size = other.chunk_size;
    const auto tokens = std::uint64_t{other.chunk_count} * other.chunk_size;
    const auto more = chunk_size ? (tokens + chunk_size - 1) / chunk_size : 0;
    chunk_count = static_cast<std::uint32_t>(
        std::min<std::uint64_t>(chunk_count + more, std::numeric_limits<std::uint32_t>::max()));
}

}  // namespace cachalot
