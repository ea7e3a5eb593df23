#include "model/gguf_checkpoint.h"

#include "base/error.h"
#include "file/gguf_writer.h"
#include "file/in_quotes.h"
#include "model/draft_model.h"
#include "model/engram_keys.h"
#include "model/model_tensors.h"
#include "model/part_tensors.h"
#include "model/source_tensors.h"
#include "tensor/convert.h"

namespace cachalot {
namespace {

std::vector<std::string> strings(const GgufMetadata& metadata, std::string_view key) {
    auto views = metadata.get<std::vector<std::string_view>>(key);
    return {views.begin(), views.end()};
}

// GGUF files that hold something else say so: general.type since 2024, and by an architecture of its own or
// by keys of their own before.
void check_is_model(const GgufMetadata& metadata, const std::string& source) {
    const auto is = [&](const char* what) { fail("{}: is {}; give the model with -m", source, what); };
    const auto type = metadata.get_or<std::string_view>("general.type", "model");
    const auto architecture = metadata.get_or<std::string_view>("general.architecture", "");
    const auto has = [&](std::string_view key) { return metadata.contains(key); };
    if (type == "imatrix" || has("imatrix.chunk_count"))
        is("an importance matrix, which is for convert --imatrix and no model");
    if (type == "adapter" || has("adapter.type"))
        is("an adapter (LoRA), which changes another model and is none; adapters are not supported");
    if (type == "mmproj" || architecture == "clip")
        is("a projector of images (mmproj), which belongs to another model; images are not supported");
    if (type == "vocab") is("a vocabulary without weights");
    if (type == kEngramFile) is("the Engram tables of a model, which --engram takes");
    if (type != "model" && type != kDrafterFile)
        fail("{}: general.type is {}: this is no model", source, in_quotes(type));
    for (const std::string_view draft : {"eagle", "dspark", "dflash", "medusa", "mtp"})
        if (architecture.find(draft) != architecture.npos)
            is("a draft for speculative decoding, which does not work alone and is not supported");
}

}  // namespace

GgufCheckpoint::GgufCheckpoint(const std::filesystem::path& path, const std::filesystem::path& engram)
    : file_(path) {
    source_ = file_.source();
    check_is_model(file_.metadata(), source_);
    config_ = config_from_gguf(file_);
    check_source_tensors(file_, config_);
    if (!engram.empty()) take_engram(engram);
}

void GgufCheckpoint::take_engram(const std::filesystem::path& path) {
    const EngramConfig& e = config_.engram;
    if (!e.present()) fail("{}: has no use for Engram tables; leave out {}", source_, path.string());
    Gguf tables(path);
    std::vector<std::string> names;
    for (const int layer : e.layers) names.push_back(engram_table_name(layer));
    for (const auto& name : names) {
        if (file_.contains(name))
            fail("{}: has its Engram tables itself; leave out {}", source_, path.string());
        if (!tables.contains(name))
            fail("{}: has no tensor {}, an Engram table of {}", tables.source(), name, source_);
    }
    check_engram_tables(GgufFields(tables, architecture_name(config_.architecture)), e, source_);
    file_.take(std::move(tables), names);
}

void GgufCheckpoint::check_engram(std::span<const std::int32_t> classes) const {
    check_engram_keys(file_, GgufFields(file_, architecture_name(config_.architecture)), config_.engram,
                      classes);
}

std::string GgufCheckpoint::unused() const { return unused_parts(file_.tensors(), has_drafter(*this)); }

Tokenizer GgufCheckpoint::tokenizer() const {
    if (!has_tokenizer()) check_more_than_drafter(*this);
    const auto& m = file_.metadata();
    // Names that are in use for this family's pre-tokenizer; files by unknown tools may name it otherwise, so
    // only a different algorithm is refused.
    if (auto model = m.get_or<std::string_view>("tokenizer.ggml.model", "gpt2"); model != "gpt2")
        fail("{}: tokenizer.ggml.model is '{}', expected 'gpt2' (byte-level BPE)", source_, model);
    TokenizerData data;
    data.tokens = strings(m, "tokenizer.ggml.tokens");
    data.merges = strings(m, "tokenizer.ggml.merges");
    data.types = m.get<std::vector<std::int32_t>>("tokenizer.ggml.token_type");
    data.bos = m.get_or<std::int32_t>("tokenizer.ggml.bos_token_id", 0);
    data.eos = m.get_or<std::int32_t>("tokenizer.ggml.eos_token_id", 1);
    return Tokenizer(std::move(data), source_);
}

Checkpoint::SamplingDefaults GgufCheckpoint::sampling_defaults() const {
    return {file_.metadata().find<float>("general.sampling.temp"),
            file_.metadata().find<float>("general.sampling.top_p")};
}

void GgufCheckpoint::write_metadata(GgufWriter& writer) const {
    for (const auto& value : file_.metadata().values())
        if (!GgufWriter::is_container_key(value.key)) writer.copy(value);
}

// Some files have other names for what V4.1 adds.
std::string GgufCheckpoint::file_name(const std::string& name) const {
    constexpr std::pair<std::string_view, std::string_view> kOther[] = {
        {"engram_wkv.weight", "engram_kv.weight"},
        {"engram_q.weight", "engram_q_norm"},
        {"engram_k.weight", "engram_k_norm"}};
    if (file_.contains(name)) return name;
    for (const auto& [ours, theirs] : kOther) {
        if (!name.ends_with(ours)) continue;
        const std::string other = name.substr(0, name.size() - ours.size()) + std::string(theirs);
        for (const std::string& spelling : {other, other + ".weight"})
            if (file_.contains(spelling)) return spelling;
    }
    return name;
}

Matrix GgufCheckpoint::view(const std::string& name, std::int64_t rows, std::int64_t columns) const {
    const TensorView& t = file_.get(file_name(name));
    bool fits = (t.shape.size() == 2 && t.shape[0] == rows && t.shape[1] == columns) ||
                (t.shape.size() == 1 && rows == 1 && t.shape[0] == columns);
    if (!fits)
        fail("{}: tensor {} has shape {}, expected [{}, {}]", source_, name, shape_text(t.shape), rows,
             columns);
    Matrix m{t.dtype, rows, columns, t.data.data(), row_bytes(t.dtype, columns)};
    if (t.dtype == DType::f8_e4m3) add_scales(name, m);
    return m;
}

// gguf_format.h describes the type.
void GgufCheckpoint::add_scales(const std::string& name, Matrix& m) const {
    const std::string scale_name = scale_tensor(name);
    const TensorView& s = file_.get(scale_name);
    m.fp8_block = config_.fp8_block;
    const std::vector<std::int64_t> expected = {blocks_of(m.rows, m.fp8_block),
                                                blocks_of(m.columns, m.fp8_block)};
    if (s.dtype != DType::i8 || s.shape != expected)
        fail("{}: tensor {} has type {} and shape {}, expected i8 and {}", source_, scale_name,
             cachalot::name(s.dtype), shape_text(s.shape), shape_text(expected));
    m.scales = reinterpret_cast<const std::uint8_t*>(s.data.data());
    m.scale_stride = expected[1];
}

// FP8 rows with their scales are a tensor of plain bytes.
EngramTable GgufCheckpoint::table(const std::string& name, std::int64_t rows, std::int64_t columns) const {
    if (!file_.contains(name))
        fail("{}: the Engram table {} is not in this file; give the file that has it with --engram", source_,
             name);
    const StoredTensor& t = file_.stored(name);
    const bool fp8 = t.view.dtype == DType::i8;
    const std::int64_t scales = fp8 ? columns / kEngramBlock : 0;
    const std::vector<std::int64_t> expected = {rows, columns + scales};
    if (t.view.shape != expected)
        fail("{}: tensor {} has type {} and shape {}, expected {}", source_, name,
             cachalot::name(t.view.dtype), shape_text(t.view.shape), shape_text(expected));
    if (!fp8 && (t.view.dtype == DType::f8_e4m3 || !is_float_like(t.view.dtype)))
        fail("{}: tensor {} has type {}, not one of numbers", source_, name, cachalot::name(t.view.dtype));
    const MappedFile* file = &file_.files()[t.file];
    const std::int64_t bytes = fp8 ? columns : row_bytes(t.view.dtype, columns), stride = bytes + scales;
    EngramTable table{rows, static_cast<int>(columns), fp8 ? DType::f8_e4m3 : t.view.dtype, {}, {}};
    table.values = {file, t.offset, stride, bytes};
    if (fp8) table.scales = {file, t.offset + static_cast<std::uint64_t>(bytes), stride, scales};
    return table;
}

Matrix GgufCheckpoint::expert(const std::string& name, int expert, int experts, std::int64_t rows,
                              std::int64_t columns) const {
    const TensorView& t = file_.get(name);
    if (t.shape != std::vector<std::int64_t>{experts, rows, columns})
        fail("{}: tensor {} has shape {}, expected [{}, {}, {}]", source_, name, shape_text(t.shape), experts,
             rows, columns);
    if (t.dtype == DType::f8_e4m3) fail("{}: tensor {}: experts in f8_e4m3 are not supported", source_, name);
    std::int64_t stride = row_bytes(t.dtype, columns);
    Matrix m{t.dtype, rows, columns, t.data.data() + expert * rows * stride, stride};
    check_matrix(name, m);
    return m;
}

}  // namespace cachalot
