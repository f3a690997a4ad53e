//===- Tokenizer.cpp - tokenizer.json -------------------------------------===//
//
// Part of MoE-MLIR, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "moe/Tools/Generate/Tokenizer.h"

#include "TokenizerParts.h"
#include "Unicode.h"
#include "moe/Tools/Run/Files.h"

#include <algorithm>
#include <map>

using namespace mlir::moe;

namespace {
struct AddedToken {
  int64_t id;
  std::string content;
  bool takesSpaceInFront, takesSpaceBehind, special;
};

/// Looks for added tokens: at each position for the longest one.
class AddedTokens {
public:
  void add(const std::string &content, const AddedToken &token) {
    if (content.empty())
      return;
    std::vector<Entry> &entries = byFirst[static_cast<uint8_t>(content[0])];
    auto longer = [&](const Entry &entry) {
      return entry.content.size() < content.size();
    };
    // Of equal ones the first is taken.
    entries.insert(std::find_if(entries.begin(), entries.end(), longer),
                   {content, token});
  }

  struct Section {
    std::string_view text;
    const AddedToken *token; // null for ordinary text
  };
  std::vector<Section> split(std::string_view text) const;

private:
  struct Entry {
    std::string content;
    AddedToken token;
  };
  const Entry *longest(std::string_view text) const {
    for (const Entry &entry : byFirst[static_cast<uint8_t>(text[0])])
      if (text.compare(0, entry.content.size(), entry.content) == 0)
        return &entry;
    return nullptr;
  }
  std::vector<Entry> byFirst[256];
};
} // namespace

struct Tokenizer::Impl {
  bool read(const JSON &file, std::string &error);
  bool readAdded(const JSON &part, std::string &error);
  bool readPostProcessor(const JSON &part, std::string &error);
  std::string normalized(std::string text) const {
    for (const Normalizer &normalizer : normalizers)
      text = normalizer(std::move(text));
    return text;
  }
  void encodeText(const std::string &text, bool first,
                  std::vector<int64_t> &ids) const;

  BytePairs model;
  std::vector<Normalizer> normalizers;
  std::vector<PreTokenizer> preTokenizers;
  std::vector<TokenDecoder> decoders;
  std::map<int64_t, AddedToken> added;
  /// Those that are looked for in front of and behind the normalizers.
  AddedTokens raw, afterwards;
  std::vector<int64_t> front, back;
  std::unordered_map<int64_t, std::string> texts;
};

//===----------------------------------------------------------------------===//
// Added tokens
//===----------------------------------------------------------------------===//

static size_t spaceAtEnd(std::string_view text) {
  size_t begin = 0;
  forEachCodePoint(text, [&](int32_t c, std::string_view part) {
    if (!isSpace(c))
      begin = static_cast<size_t>(part.data() - text.data()) + part.size();
  });
  return begin;
}

static size_t spaceAtBegin(std::string_view text) {
  size_t end = text.size();
  forEachCodePoint(text, [&](int32_t c, std::string_view part) {
    if (!isSpace(c))
      end = std::min(end, static_cast<size_t>(part.data() - text.data()));
  });
  return end;
}

std::vector<AddedTokens::Section>
AddedTokens::split(std::string_view text) const {
  std::vector<Section> sections;
  size_t end = 0;
  for (size_t at = 0; at < text.size();) {
    const Entry *found = longest(text.substr(at));
    if (!found) {
      ++at;
      continue;
    }
    size_t begin = at, stop = at + found->content.size();
    if (found->token.takesSpaceInFront)
      begin = std::max(end, spaceAtEnd(text.substr(0, begin)));
    if (found->token.takesSpaceBehind)
      stop += spaceAtBegin(text.substr(stop));
    if (end < begin)
      sections.push_back({text.substr(end, begin - end), nullptr});
    sections.push_back({text.substr(begin, stop - begin), &found->token});
    end = at = stop;
  }
  if (end < text.size())
    sections.push_back({text.substr(end), nullptr});
  return sections;
}

//===----------------------------------------------------------------------===//
// Reading
//===----------------------------------------------------------------------===//

bool mlir::moe::readModel(const JSON &part, BytePairs &model,
                          std::string &error) {
  PartReader reader(part, "the model", error);
  // Files of old do not say what they are.
  if (std::string type = reader.string("type", "BPE"); type != "BPE")
    return reader.refuse(type);
  if (const JSON *dropout = reader.get("dropout"))
    if (!dropout->is_number() || dropout->get<double>() != 0)
      return reader.fail("has a dropout, which is not supported");
  model.continuingPrefix = reader.string("continuing_subword_prefix", "");
  model.endSuffix = reader.string("end_of_word_suffix", "");
  model.fuseUnknown = reader.flag("fuse_unk", false);
  model.byteFallback = reader.flag("byte_fallback", false);
  model.ignoreMerges = reader.flag("ignore_merges", false);

  const JSON *vocabulary = reader.get("vocab");
  if (!vocabulary || !vocabulary->is_object())
    return reader.fail("has no object 'vocab'");
  for (auto &[token, id] : vocabulary->items()) {
    if (!id.is_number_unsigned() || id.get<uint64_t>() > INT32_MAX)
      return reader.fail("gives no number below 2^31 to the token '" + token +
                         "'");
    model.vocabulary[token] = static_cast<uint32_t>(id.get<uint64_t>());
  }
  if (reader.get("unk_token")) {
    std::string token = reader.string("unk_token");
    model.unknown = model.find(token);
    if (reader.ok() && !model.unknown)
      return reader.fail("lacks its unk_token '" + token + "'");
  }
  uint32_t rank = 0;
  return reader.each("merges", [&](const JSON &merge) {
    std::string first, second;
    if (merge.is_array() && merge.size() == 2 && merge[0].is_string() &&
        merge[1].is_string()) {
      first = merge[0].get<std::string>();
      second = merge[1].get<std::string>();
    } else if (merge.is_string()) {
      std::string both = merge.get<std::string>();
      size_t space = both.find(' ');
      if (space == std::string::npos ||
          both.find(' ', space + 1) != std::string::npos)
        return (void)reader.fail("has a merge that is no pair: '" + both + "'");
      first = both.substr(0, space);
      second = both.substr(space + 1);
    } else {
      return (void)reader.fail("has a merge that is no pair of strings");
    }
    std::string merged =
        first +
        second.substr(std::min(model.continuingPrefix.size(), second.size()));
    auto a = model.find(first), b = model.find(second), c = model.find(merged);
    if (!a || !b || !c)
      return (void)reader.fail("has the merge of '" + first + "' and '" +
                               second +
                               "', of which one or their sum is no "
                               "token");
    // Of equal ones the last one counts.
    model.merges[BytePairs::key(*a, *b)] = {rank++, *c};
  });
}

bool Tokenizer::Impl::readAdded(const JSON &part, std::string &error) {
  PartReader reader(part, "an added token", error);
  AddedToken token{reader.number("id"), reader.string("content"),
                   reader.flag("lstrip", false), reader.flag("rstrip", false),
                   reader.flag("special", false)};
  bool isNormalized = reader.flag("normalized", !token.special);
  if (reader.flag("single_word", false))
    return reader.fail("'" + token.content +
                       "' counts as a whole word only, which is not supported");
  if (!reader.ok())
    return false;
  added[token.id] = token;
  // What is looked for is what the token decodes to.
  std::string text = isNormalized ? normalized(token.content) : token.content;
  (isNormalized ? afterwards : raw).add(text, token);
  texts[token.id] = text;
  return true;
}

bool Tokenizer::Impl::readPostProcessor(const JSON &part, std::string &error) {
  PartReader reader(part, "the post-processor", error);
  std::string type = reader.type();
  if (!reader.ok() || type == "ByteLevel") // which is about offsets
    return reader.ok();
  if (type == "Sequence")
    return reader.each("processors", [&](const JSON &inner) {
      readPostProcessor(inner, error);
    });
  if (type != "TemplateProcessing")
    return reader.refuse(type);
  bool behind = false;
  std::vector<int64_t> before, after;
  const JSON *special = reader.get("special_tokens");
  reader.each("single", [&](const JSON &item) {
    if (item.is_object() && item.contains("Sequence")) {
      if (behind)
        reader.fail("repeats the text, which is not supported");
      behind = true;
      return;
    }
    const JSON *token = item.is_object() && item.contains("SpecialToken")
                            ? &item["SpecialToken"]
                            : nullptr;
    std::string name = token && token->is_object() && token->contains("id") &&
                               (*token)["id"].is_string()
                           ? (*token)["id"].get<std::string>()
                           : "";
    const JSON *entry = special && special->is_object() &&
                                special->contains(name) &&
                                (*special)[name].is_object()
                            ? &(*special)[name]
                            : nullptr;
    if (!entry || !entry->contains("ids") || !(*entry)["ids"].is_array())
      return (void)reader.fail("has no ids for the special token '" + name +
                               "'");
    for (const JSON &id : (*entry)["ids"]) {
      if (!id.is_number_unsigned() || id.get<uint64_t>() > INT32_MAX)
        return (void)reader.fail("has no ids for the special token '" + name +
                                 "'");
      (behind ? after : before).push_back(id.get<int64_t>());
    }
  });
  if (reader.ok() && !behind)
    return reader.fail("leaves the text out");
  // A later one goes around what an earlier one has made.
  front.insert(front.begin(), before.begin(), before.end());
  back.insert(back.end(), after.begin(), after.end());
  return reader.ok();
}

bool Tokenizer::Impl::read(const JSON &file, std::string &error) {
  PartReader reader(file, "the file", error);
  for (const char *name : {"truncation", "padding"})
    if (reader.get(name))
      return reader.fail("asks for " + std::string(name) +
                         ", which is not supported");
  if (const JSON *part = reader.get("normalizer"))
    readNormalizer(*part, normalizers, error);
  if (const JSON *part = reader.get("pre_tokenizer"); part && reader.ok())
    readPreTokenizer(*part, preTokenizers, error);
  if (const JSON *part = reader.get("post_processor"); part && reader.ok())
    readPostProcessor(*part, error);
  if (const JSON *part = reader.get("decoder"); part && reader.ok())
    readDecoder(*part, decoders, error);
  if (!reader.ok())
    return false;
  const JSON *part = reader.get("model");
  if (!part)
    return reader.fail("has no model");
  if (!readModel(*part, model, error))
    return false;
  for (const auto &[token, id] : model.vocabulary)
    texts[id] = token;
  return !reader.get("added_tokens") ||
         reader.each("added_tokens",
                     [&](const JSON &token) { readAdded(token, error); });
}

std::unique_ptr<Tokenizer> Tokenizer::load(const std::string &path,
                                           std::string &error) {
  Buffer bytes;
  if (!readFile(path, bytes, error))
    return nullptr;
  JSON file = JSON::parse(bytes.data(), bytes.data() + bytes.size(),
                          /*cb=*/nullptr, /*allow_exceptions=*/false);
  auto impl = std::make_unique<Impl>();
  std::string why;
  if (file.is_discarded())
    why = "it is no valid JSON";
  if (!why.empty() || !impl->read(file, why)) {
    error = "cannot use the tokenizer '" + path + "': " + why;
    return nullptr;
  }
  return std::unique_ptr<Tokenizer>(new Tokenizer(std::move(impl)));
}

Tokenizer::Tokenizer(std::unique_ptr<Impl> impl) : impl(std::move(impl)) {}
Tokenizer::~Tokenizer() = default;

//===----------------------------------------------------------------------===//
// Use
//===----------------------------------------------------------------------===//

void Tokenizer::Impl::encodeText(const std::string &text, bool first,
                                 std::vector<int64_t> &ids) const {
  std::vector<Piece> pieces;
  if (!text.empty())
    pieces.push_back({text, first});
  for (const PreTokenizer &preTokenizer : preTokenizers)
    preTokenizer(pieces);
  for (const Piece &piece : pieces)
    model.encode(piece.text, ids);
}

bool Tokenizer::encode(const std::string &text, std::vector<int64_t> &ids,
                       std::string &error) const {
  if (!isUTF8(text)) {
    error = "expects text in UTF-8";
    return false;
  }
  ids = impl->front;
  for (const AddedTokens::Section &section : impl->raw.split(text)) {
    if (section.token) {
      ids.push_back(section.token->id);
      continue;
    }
    bool first = section.text.data() == text.data();
    std::string normalized = impl->normalized(std::string(section.text));
    for (const AddedTokens::Section &inner :
         impl->afterwards.split(normalized)) {
      if (inner.token)
        ids.push_back(inner.token->id);
      else
        impl->encodeText(std::string(inner.text),
                         first && inner.text.data() == normalized.data(), ids);
    }
  }
  ids.insert(ids.end(), impl->back.begin(), impl->back.end());
  return true;
}

std::string Tokenizer::decode(const std::vector<int64_t> &ids) const {
  std::vector<std::string> tokens;
  for (int64_t id : ids) {
    auto text = impl->texts.find(id);
    auto token = impl->added.find(id);
    if (text != impl->texts.end() &&
        (token == impl->added.end() || !token->second.special))
      tokens.push_back(text->second);
  }
  std::string text;
  if (tokens.empty())
    return text;
  for (const TokenDecoder &decoder : impl->decoders)
    decoder(tokens);
  for (size_t i = 0; i < tokens.size(); ++i)
    text += (i && impl->decoders.empty() ? " " : "") + tokens[i];
  return text;
}

std::optional<int64_t> Tokenizer::findAdded(const std::string &content) const {
  for (const auto &[id, token] : impl->added)
    if (token.content == content)
      return id;
  return std::nullopt;
}
