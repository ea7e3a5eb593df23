#include "model/release_checkpoint.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "file/gguf_writer.h"
#include "file/json.h"
#include "file/text_file.h"
#include "model/engram_classes.h"
#include "model/engram_keys.h"
#include "model/part_tensors.h"
#include "model/release_record.h"
#include "model/source_tensors.h"

namespace cachalot {
ReleaseCheckpoint::ReleaseCheckpoint(const std::filesystem::path& directory)
    : directory_(directory), tensors_(directory) {
    source_ = directory.string();
    config_ = read_config(directory);
    check_source_tensors(tensors_, config_);
    if (config_.name.empty())
        config_.name = std::filesystem::absolute(directory).lexically_normal().filename().string();
    for (const auto& table : {model_tensors(config_), drafter_tensors(config_), vision_tensors(config_)})
        for (const auto& spec : table) names_.emplace(spec.gguf, spec.release);
}

std::string ReleaseCheckpoint::unused() const { return unused_parts(tensors_.tensors(), has_drafter(*this)); }

bool ReleaseCheckpoint::has_tokenizer() const {
    return std::filesystem::exists(directory_ / "tokenizer.json");
}

Tokenizer ReleaseCheckpoint::tokenizer() const {
    if (!has_tokenizer()) check_more_than_drafter(*this);
    auto path = directory_ / "tokenizer.json";
    const std::string text = read_text_file(path);
    Tokenizer tokenizer = [&] {
        try {
            return Tokenizer::from_json(text, path.string());
        } catch (const Error&) {
            check_json(text, path.string());  // whose message helps more
            throw;
        }
    }();
    if (tokenizer.size() >= config_.vocab_size) return tokenizer;
    // The embedding of a release has rows for which the tokenizer has no token.
    TokenizerData data = tokenizer.data();
    for (int id = tokenizer.size(); id < config_.vocab_size; ++id) {
        data.tokens.push_back(fmt::format("[unused{}]", id));
        data.types.push_back(static_cast<int>(TokenType::unused));
    }
    return Tokenizer(std::move(data), path.string());
}

Checkpoint::SamplingDefaults ReleaseCheckpoint::sampling_defaults() const {
    auto path = directory_ / "generation_config.json";
    if (!std::filesystem::exists(path)) return {};
    auto json = parse_file_json(read_text_file(path), path.string());
    auto number = [&](const char* key) -> std::optional<float> {
        auto it = json.find(key);
        if (it == json.end() || !it->is_number()) return {};
        return it->get<float>();
    };
    return {number("temperature"), number("top_p")};
}

void ReleaseCheckpoint::write_metadata(GgufWriter& writer) const {
    write_config(config_, writer);
    if (is_drafter_only(*this)) return;
    auto defaults = sampling_defaults();
    if (defaults.temperature) writer.set<float>("general.sampling.temp", *defaults.temperature);
    if (defaults.top_p) writer.set<float>("general.sampling.top_p", *defaults.top_p);

    const Tokenizer words = tokenizer();
    write_tokenizer(words.data(), writer);
    if (config_.engram.present())
        write_engram_classes(config_.engram, engram_classes(words),
                             fmt::format("{}.", architecture_name(config_.architecture)), writer);
}

void ReleaseCheckpoint::write_release_record(GgufWriter& writer) const {
    ReleaseRecord::write(directory_, writer);
}

const std::string& ReleaseCheckpoint::release_name(const std::string& name) const {
    auto it = names_.find(name);
    CACHALOT_CHECK(it != names_.end());
    return it->second;
}

Matrix ReleaseCheckpoint::view(const std::string& name, std::int64_t rows, std::int64_t columns) const {
    return stored(release_name(name), rows, columns);
}

Matrix ReleaseCheckpoint::expert(const std::string& name, int expert, int, std::int64_t rows,
                                 std::int64_t columns) const {
    Matrix m = stored(fmt::format(fmt::runtime(release_name(name)), expert), rows, columns);
    check_matrix(name, m);
    return m;
}

EngramTable ReleaseCheckpoint::table(const std::string& name, std::int64_t rows, std::int64_t columns) const {
    const std::string& values = release_name(name);
    return {rows, static_cast<int>(columns), DType::f8_e4m3, part(values, DType::f8_e4m3, rows, columns),
            part(scale_tensor(values), DType::f8_e8m0, rows, columns / kEngramBlock)};
}

// Rows of one byte a value.
RowPart ReleaseCheckpoint::part(const std::string& name, DType type, std::int64_t rows,
                                std::int64_t columns) const {
    const StoredTensor& t = tensors_.stored(name);
    const std::vector<std::int64_t> expected = {rows, columns};
    if (t.view.dtype != type || t.view.shape != expected)
        fail("{}: tensor {} has type {} and shape {}, expected {} and {}", source_, name,
             cachalot::name(t.view.dtype), shape_text(t.view.shape), cachalot::name(type),
             shape_text(expected));
    return {&tensors_.files()[t.file], t.offset, columns, columns};
}

Matrix ReleaseCheckpoint::stored(const std::string& name, std::int64_t rows, std::int64_t columns) const {
    const TensorView& t = tensors_.get(name);
    auto require = [&](const TensorView& tensor, std::int64_t r, std::int64_t c) {
        bool fits = (tensor.shape.size() == 2 && tensor.shape[0] == r && tensor.shape[1] == c) ||
                    (tensor.shape.size() == 1 && r == 1 && tensor.shape[0] == c);
        if (!fits)
            fail("{}: tensor {} has shape {}, expected [{}, {}]", source_, tensor.name,
                 shape_text(tensor.shape), r, c);
    };
    Matrix m{t.dtype, rows, columns, t.data.data(), 0};
    std::int64_t scale_rows = 0, scale_columns = 0;
    if (t.dtype == DType::i8) {  // two FP4 values in a byte
        m.dtype = DType::fp4_pairs;
        require(t, rows, columns / 2);
        scale_rows = rows;
        scale_columns = blocks_of(columns, kFp4Block);
    } else {
        require(t, rows, columns);
        if (t.dtype == DType::f8_e4m3) {
            m.fp8_block = config_.fp8_block;
            scale_rows = blocks_of(rows, m.fp8_block);
            scale_columns = blocks_of(columns, m.fp8_block);
        }
    }
    m.stride = row_bytes(m.dtype, columns);
    if (scale_rows) {
        const TensorView& s = tensors_.get(scale_tensor(name));
        require(s, scale_rows, scale_columns);
        if (s.dtype != DType::f8_e8m0)
            fail("{}: tensor {} has type {}, expected f8_e8m0", source_, s.name, cachalot::name(s.dtype));
        m.scales = reinterpret_cast<const std::uint8_t*>(s.data.data());
        m.scale_stride = scale_columns;
    }
    return m;
}

}  // namespace cachalot
