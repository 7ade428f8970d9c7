#include "pair/clone_wire.h"

#include <algorithm>
#include <type_traits>

#include "base/check.h"
#include "replay/log_bytes.h"

namespace ftvmm::pair {

namespace {

using namespace clone_message;
using ftlink::FrameKind;

// A line of a log.
constexpr std::size_t kMostWhyBytes = 512;

}  // namespace

ftlink::OutgoingFrame make_frame(const CloneMessage& message) {
    replay::ByteWriter out;
    out.fixed(static_cast<std::uint8_t>(message.index()));
    std::visit(
        [&out](const auto& it) {
            using T = std::decay_t<decltype(it)>;
            if constexpr (std::is_same_v<T, Begins>) {
                out.fixed(it.pages);
            } else if constexpr (std::is_same_v<T, Round>) {
                out.fixed(it.number);
                out.fixed(it.pages);
            } else if constexpr (std::is_same_v<T, Ends>) {
                out.fixed(it.state_bytes);
                out.fixed(it.bulk_bytes);
                out.fixed(it.pages);
                out.fixed(it.first.value());
            } else if constexpr (std::is_same_v<T, Protected>) {
                out.fixed(it.generation.value());
                out.raw(std::as_bytes(std::span(it.nonce)));
            } else if constexpr (std::is_same_v<T, Failed>) {
                const auto why = std::as_bytes(std::span(it.why));
                out.blob(why.first(std::min(why.size(), kMostWhyBytes)));
            }
        },
        message);
    return ftlink::make_frame(FrameKind::kCloneControl, out.take());
}

Result<CloneMessage> decode_clone_message(std::span<const std::byte> payload) {
    replay::ByteReader in(payload);
    CloneMessage message;
    switch (in.fixed<std::uint8_t>()) {
        case 0:
            message = Begins{in.fixed<std::uint64_t>()};
            break;
        case 1: {
            Round round;
            round.number = in.fixed<std::uint32_t>();
            round.pages = in.fixed<std::uint64_t>();
            message = round;
            break;
        }
        case 2: {
            Ends ends;
            ends.state_bytes = in.fixed<std::uint64_t>();
            ends.bulk_bytes = in.fixed<std::uint64_t>();
            ends.pages = in.fixed<std::uint64_t>();
            ends.first = replay::Seq(in.fixed<std::uint64_t>());
            message = ends;
            break;
        }
        case 3:
            message = Stands{};
            break;
        case 4: {
            Failed failed;
            const auto why = in.blob();
            if (why.size() > kMostWhyBytes) in.fail("its reason is too long");
            // For a log line: nothing in it moves a terminal's cursor.
            for (const std::byte byte : why) {
                const char letter = static_cast<char>(byte);
                failed.why += letter >= ' ' && letter <= '~' ? letter : '?';
            }
            message = failed;
            break;
        }
        case 5: {
            Protected protection;
            protection.generation = Generation(in.fixed<std::uint64_t>());
            std::ranges::transform(in.raw(protection.nonce.size()), protection.nonce.begin(),
                                   std::to_integer<std::uint8_t>);
            message = protection;
            break;
        }
        case 6:
            message = Bids{};
            break;
        default:
            in.fail("there is no such message");
    }
    if (in.failure()) return fail("a clone's message: " + std::string(*in.failure()));
    if (!in.is_at_end()) return fail("a clone's message goes on behind its end");
    return message;
}

ftlink::OutgoingFrame make_frame(const machine::ChunkCodec::Chunk& chunk) {
    const auto header = chunk.header.encode();
    std::vector<std::byte> payload(header.begin(), header.end());
    payload.insert(payload.end(), chunk.data.begin(), chunk.data.end());
    return ftlink::make_frame(FrameKind::kClonePages, std::move(payload));
}

Result<PagesView> decode_pages(std::span<const std::byte> payload, std::uint64_t memory_pages) {
    constexpr std::size_t kHeader = machine::ChunkHeader::kBytes;
    if (payload.size() < kHeader) return fail("a clone's pages have no header");
    replay::ByteReader reader(payload);
    if (reader.fixed<std::uint32_t>() != machine::ChunkHeader::kRecordKind) {
        return fail("a clone's pages are none");
    }
    FTVMM_ASSIGN(const auto header,
                 machine::ChunkHeader::decode(payload.first<kHeader>(), memory_pages));
    const auto data = payload.subspan(kHeader);
    if (data.size() != header.compressed_bytes) {
        return fail("a clone's pages are not as long as they say");
    }
    return PagesView{header, data};
}

ftlink::OutgoingFrame make_state_frame(std::span<const std::byte> piece) {
    FTVMM_CHECK(piece.size() <= kMostStatePiece, "a state goes over in pieces");
    return ftlink::make_frame(FrameKind::kCloneState, {piece.begin(), piece.end()});
}

}  // namespace ftvmm::pair
