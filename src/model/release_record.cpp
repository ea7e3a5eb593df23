#include "model/release_record.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "base/checked.h"
#include "base/error.h"
#include "file/gguf_writer.h"
#include "file/in_quotes.h"
#include "file/json.h"
#include "file/mapped_file.h"
#include "file/output_file.h"
#include "file/text_file.h"
#include "model/gguf_checkpoint.h"
#include "model/model_tensors.h"
#include "model/part_tensors.h"
#include "tensor/convert.h"
#include "tensor/float_formats.h"

namespace cachalot {
namespace {

namespace fs = std::filesystem;
using json = nlohmann::ordered_json;
using Kind = TensorSpec::Kind;

constexpr const char* kFiles = "cachalot.release.files";
constexpr const char* kContents = "cachalot.release.contents";
constexpr std::string_view kWeights = ".safetensors";
constexpr const char* kMark = ".made-from";  // in an unfinished release: what it is made from

std::string header_of(const fs::path& path) {
    const MappedFile file(path);
    std::uint64_t size = 0;
    if (file.size() >= sizeof size) std::memcpy(&size, file.bytes().data(), sizeof size);
    if (size > file.size() - std::min(file.size(), sizeof size))
        fail("{}: is not a safetensors file", file.path());
    return {reinterpret_cast<const char*>(file.bytes().data()) + sizeof size, static_cast<std::size_t>(size)};
}

// Where the bytes of a tensor of the release come from.
struct Origin {
    const TensorSpec* spec = nullptr;
    int expert = 0;
    bool scales = false;
    bool written = false;
};

// All that the file has.
std::vector<TensorSpec> tensors_of(const GgufCheckpoint& source) {
    std::vector<TensorSpec> specs;
    const auto add = [&](bool there, std::vector<TensorSpec> more) {
        if (there) std::ranges::move(more, std::back_inserter(specs));
    };
    add(!is_drafter_only(source), model_tensors(source.config()));
    add(has_drafter(source), drafter_tensors(source.config()));
    add(has_vision(source), vision_tensors(source.config()));
    return specs;
}

class Writer {
  public:
    Writer(const GgufCheckpoint& source, const fs::path& folder,
           const std::function<void(std::uint64_t, std::uint64_t)>& progress)
        : source_(source), folder_(without_slash(folder)), progress_(progress), specs_(tensors_of(source)) {
        for (const TensorSpec& s : specs_) {
            if (s.kind != Kind::experts) add(s.release, {&s, 0, false});
            for (int e = 0; e < s.experts; ++e) add(fmt::format(fmt::runtime(s.release), e), {&s, e, false});
        }
    }

    ReleaseSummary run() {
        const auto& metadata = source_.metadata();
        const auto names = metadata.find<std::vector<std::string_view>>(kFiles);
        const auto contents = metadata.find<std::vector<std::string_view>>(kContents);
        if (!names || !contents || names->size() != contents->size())
            fail(
                "{}: was not made from a release without loss (convert --dense f8_e4m3), "
                "so it cannot become one again",
                source_.source());
        if (fs::exists(folder_) && !(fs::is_directory(folder_) && fs::is_empty(folder_)))
            fail("{} exists; choose another folder", folder_.string());
        const fs::path partial = partial_folder();
        try {
            write_files(partial, *names, *contents);
        } catch (...) {
            remove_if_nothing_is_done(partial);
            throw;
        }
        std::error_code error;
        fs::rename(partial, folder_, error);
        if (error)
            fail("{}: cannot be made: {}; the finished release is {}", folder_.string(), error.message(),
                 partial.string());
        fs::remove(folder_ / kMark, error);
        return summary_;
    }

  private:
    using Texts = std::vector<std::string_view>;

    void write_files(const fs::path& partial, const Texts& names, const Texts& contents) {
        check_names(names);
        std::uint64_t missing = 0;
        for (std::size_t i = 0; i < names.size(); ++i) {
            const auto size = checked_add<std::uint64_t>(
                contents[i].size(), data_bytes(names[i], contents[i]), "bytes of the release");
            total_ = checked_add(total_, size, "bytes of the release");
            if (!fs::exists(partial / names[i])) missing += size;
        }
        check_space(partial / kMark, missing);
        for (std::size_t i = 0; i < names.size(); ++i) {
            const std::string name(names[i]);
            if (name.ends_with(kWeights))
                write_weights(partial / name, contents[i]);
            else
                write_text(partial / name, name, contents[i]);
            ++summary_.files;
        }
        for (const auto& [name, origin] : origins_)
            if (!origin.written && !origin.scales) ++summary_.added;
    }

    // Files of the release lie in its folder, each under a name of its own; what begins with a dot is ours.
    void check_names(const Texts& names) const {
        std::set<std::string_view> seen;
        for (const auto name : names) {
            const bool good = !name.empty() && !name.starts_with('.') &&
                              name.find_first_of(std::string_view("/\\\0", 3)) == std::string_view::npos;
            if (!good)
                fail("{}: key '{}': {} is not the name of a file", source_.source(), kFiles, in_quotes(name));
            if (!seen.insert(name).second)
                fail("{}: key '{}': {} appears twice", source_.source(), kFiles, in_quotes(name));
        }
    }

    // What has not begun is not left behind.
    static void remove_if_nothing_is_done(const fs::path& partial) {
        std::error_code error;
        for (const auto& entry : fs::directory_iterator(partial, error))
            if (entry.path().filename() != kMark) return;
        fs::remove_all(partial, error);
    }

    static fs::path without_slash(const fs::path& folder) {
        const auto path = fs::weakly_canonical(fs::absolute(folder));
        return path.has_filename() ? path : path.parent_path();
    }

    // The folder that is written, which becomes the release at its end. A file in it is complete, so those
    // that an earlier attempt with the same model has left stay. A mark tells them from what somebody else
    // has put there.
    fs::path partial_folder() const {
        fs::path partial = folder_.string() + ".partial";
        std::string mark = source_.source();
        for (const MappedFile& file : source_.files())
            mark += fmt::format("\n{} {}", file.size(),
                                fs::last_write_time(file.path()).time_since_epoch().count());
        if (!fs::exists(partial)) {
            fs::create_directories(partial);
            try {
                OutputFile out(partial / kMark);
                out.write(std::as_bytes(std::span(mark)));
                out.commit();
            } catch (const Error&) {
                remove_if_nothing_is_done(partial);
                throw;
            }
        } else if (!fs::exists(partial / kMark) || read_text_file(partial / kMark) != mark) {
            fail("{}: exists and is not unfinished work with {}; move it away", partial.string(),
                 source_.source());
        }
        return partial;
    }

    // Of the tensors in a file of weights that will be written.
    std::uint64_t data_bytes(std::string_view name, std::string_view text) const {
        std::uint64_t bytes = 0;
        if (!name.ends_with(kWeights)) return bytes;
        const json header = parsed(name, text);
        for (const auto& [tensor, entry] : header.items())
            if (origins_.count(tensor)) {
                const Entry e = entry_of(tensor, entry);
                bytes = checked_add(bytes, e.end - e.begin, "bytes of the release");
            }
        return bytes;
    }

    // In the order of the text, which has to be kept.
    json parsed(std::string_view name, std::string_view text) const {
        constexpr int kMostDepth = 16;
        constexpr std::size_t kMostValues = 20'000'000;
        parse_file_json(text, fmt::format("{}: the record of {}", source_.source(), in_quotes(name)),
                        kMostDepth, kMostValues);
        return json::parse(text);
    }

    void add(const std::string& name, Origin origin) {
        origins_[name] = origin;
        const Kind kind = origin.spec->kind;
        if (kind == Kind::experts || kind == Kind::table || is_fp8_in_releases(origin.spec->role)) {
            origin.scales = true;
            origins_[scale_tensor(name)] = origin;
        }
    }

    void write_text(const fs::path& path, const std::string& name, std::string_view text) {
        std::string changed;
        if (name.ends_with(".index.json")) {  // without the tensors that are left out
            json index = parsed(name, text);
            std::size_t removed = 0;
            json kept = json::object();
            for (const auto& [tensor, file] : index.at("weight_map").items())
                if (origins_.count(tensor))
                    kept[tensor] = file;
                else
                    ++removed;
            if (removed) {
                index["weight_map"] = kept;
                changed = index.dump(2) + "\n";
                text = changed;
            }
        }
        summary_.bytes += text.size();
        if (fs::exists(path)) return;
        OutputFile out(path);
        out.write(std::as_bytes(std::span(text)));
        out.commit();
    }

    struct Entry {
        std::string name, type;
        std::uint64_t begin, end;
    };

    Entry entry_of(const std::string& name, const json& tensor) const {
        const json& offsets = tensor.at("data_offsets");
        const json &begin = offsets.at(0), &end = offsets.at(1);
        if (!begin.is_number_unsigned() || !end.is_number_unsigned() || end < begin)
            fail("{}: the recorded place of tensor {} is none", source_.source(), in_quotes(name));
        return {name, tensor.at("dtype"), begin, end};
    }

    void write_weights(const fs::path& path, std::string_view text) {
        json header = parsed(path.filename().string(), text), kept = json::object();
        std::vector<Entry> entries;
        for (const auto& [name, tensor] : header.items())
            if (name != "__metadata__") entries.push_back(entry_of(name, tensor));
        std::stable_sort(entries.begin(), entries.end(),
                         [](const Entry& a, const Entry& b) { return a.begin < b.begin; });
        std::string changed;
        const auto before = entries.size();
        std::erase_if(entries, [&](const Entry& e) { return !origins_.count(e.name); });
        if (entries.size() != before) {
            summary_.left_out += static_cast<int>(before - entries.size());
            if (header.contains("__metadata__")) kept["__metadata__"] = header["__metadata__"];
            std::uint64_t offset = 0;
            for (Entry& e : entries) {
                const std::uint64_t size = e.end - e.begin;
                e = {e.name, e.type, offset, offset + size};
                offset += size;
                kept[e.name] = {{"dtype", e.type},
                                {"shape", header[e.name]["shape"]},
                                {"data_offsets", {e.begin, e.end}}};
            }
            changed = kept.dump();
            changed.resize((changed.size() + 7) / 8 * 8, ' ');
            text = changed;
        }
        std::optional<OutputFile> out;
        if (!fs::exists(path)) out.emplace(path);
        const std::uint64_t size = text.size();
        if (out) {
            out->write(std::as_bytes(std::span(&size, 1)));
            out->write(std::as_bytes(std::span(text)));
        }
        std::uint64_t position = 0;
        for (const Entry& e : entries) {
            if (e.begin != position)
                fail("{}: the recorded header of {} has holes", source_.source(), path.filename().string());
            if (out) write_tensor(*out, e);
            origins_.at(e.name).written = true;
            position = e.end;
            ++summary_.tensors;
            if (progress_) progress_(summary_.bytes + position, total_);
        }
        if (out) out->commit();
        summary_.bytes += sizeof size + text.size() + position;
    }

    void write_tensor(OutputFile& out, const Entry& e) {
        if (const Origin& o = origins_.at(e.name); o.spec->kind == Kind::table) return write_table(out, e, o);
        const auto bytes = bytes_of(e);
        check_size(e, bytes.size());
        out.write(bytes);
    }

    // A few megabytes at a time.
    void write_table(OutputFile& out, const Entry& e, const Origin& o) {
        const TensorSpec& s = *o.spec;
        const EngramTable table = source_.table(s.gguf, s.rows, s.columns);
        expect(e, table.dtype != DType::f8_e4m3 ? name(table.dtype) : o.scales ? "F8_E8M0" : "F8_E4M3");
        const RowPart& part = o.scales ? table.scales : table.values;
        check_size(e, static_cast<std::uint64_t>(s.rows * part.bytes));
        constexpr std::int64_t kRows = 1 << 14;
        for (std::int64_t first = 0; first < s.rows; first += kRows) {
            scratch_.clear();
            for (std::int64_t r = first; r < std::min(s.rows, first + kRows); ++r)
                scratch_.insert(scratch_.end(), part.row(r), part.row(r) + part.bytes);
            out.write(scratch_);
        }
    }

    void check_size(const Entry& e, std::uint64_t bytes) const {
        if (bytes != e.end - e.begin)
            fail("{}: tensor {} has {} bytes, in the release it had {}", source_.source(), e.name, bytes,
                 e.end - e.begin);
    }

    std::span<const std::byte> bytes_of(const Entry& e) {
        const Origin& o = origins_.at(e.name);
        const TensorSpec& s = *o.spec;
        if (s.kind == Kind::floats) return floats(s, e);
        if (s.kind == Kind::integers) {
            const auto values = source_.integers(s.gguf, s.rows, s.columns);
            if (e.type == "I32") return own(std::as_bytes(std::span(values)));
            expect(e, "I64");
            const std::vector<std::int64_t> wide(values.begin(), values.end());
            return own(std::as_bytes(std::span(wide)));
        }
        const Matrix m = stored_matrix(source_, s, o.expert);
        if (m.dtype == DType::mxfp4) {
            expect(e, o.scales ? "F8_E8M0" : "I8");
            return unpacked(m, o.scales);
        }
        if (m.dtype == DType::f8_e4m3) {
            expect(e, o.scales ? "F8_E8M0" : "F8_E4M3");
            const std::int64_t rows = o.scales ? m.scale_rows() : m.rows;
            const auto* data = o.scales ? reinterpret_cast<const std::byte*>(m.scales) : m.data;
            return {data, static_cast<std::size_t>(rows * (o.scales ? m.scale_stride : m.stride))};
        }
        expect(e, m.dtype == DType::bf16 ? "BF16" : m.dtype == DType::f16 ? "F16" : "F32");
        return {m.data, static_cast<std::size_t>(m.rows * m.stride)};
    }

    std::span<const std::byte> floats(const TensorSpec& s, const Entry& e) {
        const auto values = source_.floats(s.gguf, s.rows, s.columns);
        if (e.type == "F32") return own(std::as_bytes(std::span(values)));
        if (e.type != "F16") expect(e, "BF16");
        std::vector<std::uint16_t> halves;
        for (float v : values) halves.push_back(e.type == "F16" ? f32_to_f16(v) : f32_to_bf16(v));
        return own(std::as_bytes(std::span(halves)));
    }

    std::span<const std::byte> unpacked(const Matrix& m, bool scales) {
        std::vector<std::uint8_t> pairs(static_cast<std::size_t>(m.rows * m.columns / 2)),
            exponents(static_cast<std::size_t>(m.rows * m.columns / kFp4Block));
        for (std::int64_t r = 0; r < m.rows; ++r)
            unpack_mxfp4_row(m.row(r), m.columns, pairs.data() + r * m.columns / 2,
                             exponents.data() + r * m.columns / kFp4Block);
        return own(std::as_bytes(std::span(scales ? exponents : pairs)));
    }

    void expect(const Entry& e, std::string_view type) const {
        if (e.type != type)
            fail("{}: tensor {} was {} in the release, and is stored as {} here", source_.source(), e.name,
                 e.type, type);
    }

    std::span<const std::byte> own(std::span<const std::byte> bytes) {
        scratch_.assign(bytes.begin(), bytes.end());
        return scratch_;
    }

    const GgufCheckpoint& source_;
    fs::path folder_;
    const std::function<void(std::uint64_t, std::uint64_t)>& progress_;
    std::vector<TensorSpec> specs_;
    std::map<std::string, Origin> origins_;  // by name in the release
    std::vector<std::byte> scratch_;
    std::uint64_t total_ = 0;
    ReleaseSummary summary_;
};

}  // namespace

void ReleaseRecord::write(const fs::path& release, GgufWriter& writer) {
    std::vector<std::string> names, contents;
    for (const auto& entry : fs::directory_iterator(release)) {
        const std::string name = entry.path().filename().string();
        // Weights, and the text files that belong to a release; not whatever else lies in the folder.
        const bool weights =
            name.ends_with(kWeights) && (name == "model.safetensors" || name.starts_with("model-"));
        const bool text = name == "config.json" || name == "generation_config.json" ||
                          name == "tokenizer.json" || name == "tokenizer_config.json" ||
                          name == "model.safetensors.index.json";
        if (weights || text) names.push_back(name);
    }
    std::sort(names.begin(), names.end());
    for (const auto& name : names)
        contents.push_back(name.ends_with(kWeights) ? header_of(release / name)
                                                    : read_text_file((release / name).string()));
    writer.set_strings(kFiles, names);
    writer.set_strings(kContents, contents);
}

void ReleaseRecord::clear(GgufWriter& writer) {
    writer.remove(kFiles);
    writer.remove(kContents);
}

ReleaseSummary write_release(const GgufCheckpoint& source, const fs::path& folder,
                             const std::function<void(std::uint64_t, std::uint64_t)>& progress) {
    try {
        return Writer(source, folder, progress).run();
    } catch (const nlohmann::json::exception& error) {
        fail("{}: the recorded release is damaged: {}", source.source(), error.what());
    } catch (const fs::filesystem_error& error) {
        fail("{}: {}", folder.string(), error.code().message());
    }
}

}  // namespace cachalot
