// Any bytes as what the other host sends. What a decoder gives is written again as the same bytes;
// it gives the same however the stream is sliced, and holds no more than it was fed. Neither end of
// the link does anything for a peer that its contract does not say.
#include <algorithm>
#include <span>
#include <variant>
#include <vector>

#include "base/check.h"
#include "ftlink/frame.h"
#include "ftlink/messages.h"
#include "ftlink/receiver_fsm.h"
#include "ftlink/sender_fsm.h"
#include "fuzz_input.h"
#include "pair/clone_target.h"
#include "pair/clone_wire.h"
#include "replay/log_format.h"
#include "replay/record_codec.h"

namespace ftvmm::fuzz {
namespace {

using namespace ftlink;

// The smallest record.
replay::Record button() {
    return {{}, 0, replay::input::PowerButton{}};
}

struct Taken {
    FrameKind kind{};
    std::vector<std::byte> payload;
    bool operator==(const Taken&) const = default;
};

// All that a decoder gives for `bytes` in pieces of `slice`.
std::vector<Taken> take_apart(std::span<const std::byte> bytes, std::size_t slice) {
    std::vector<Taken> taken;
    FrameDecoder decoder;
    std::size_t given = 0;
    while (!bytes.empty()) {
        const auto piece = bytes.first(std::min(slice, bytes.size()));
        bytes = bytes.subspan(piece.size());
        given += piece.size();
        decoder.feed(piece);
        while (true) {
            const auto frame = decoder.next();
            if (!frame) {
                FTVMM_CHECK(!frame.error().what().empty(), "what is wrong can be told");
                FTVMM_CHECK(decoder.pending_bytes() == 0, "a broken stream is not kept");
                return taken;
            }
            if (!*frame) break;
            const auto payload = (*frame)->payload;
            FTVMM_CHECK(payload.size() <= most_payload_bytes((*frame)->kind),
                        "a frame keeps to its kind's bound");
            given -= kFrameHeaderBytes + payload.size();
            taken.push_back({(*frame)->kind, {payload.begin(), payload.end()}});
        }
        FTVMM_CHECK(decoder.pending_bytes() == given, "a decoder holds what it was fed, no more");
    }
    return taken;
}

void try_stream(std::span<const std::byte> stream) {
    const auto whole = take_apart(stream, stream.size() + 1);
    FTVMM_CHECK(take_apart(stream, 7) == whole, "slices make no difference");
    std::size_t at = 0;
    for (const Taken& taken : whole) {
        const auto frame = make_frame(taken.kind, taken.payload);
        const auto there = stream.subspan(at, frame.size());
        FTVMM_CHECK(std::ranges::equal(there.first(kFrameHeaderBytes), frame.header),
                    "what was read is written the same");
        at += frame.size();
    }
}

Frame next_frame(FuzzInput& input, std::vector<std::byte>& payload) {
    constexpr std::uint8_t kKinds = 9;
    const auto kind = static_cast<FrameKind>(1 + input.below(kKinds));
    payload = input.take_bytes(input.take<std::uint8_t>());
    return {kind, payload};
}

// Frames with the checksums that they must have, and at most one bit changed behind that.
void try_frames(FuzzInput& input) {
    std::vector<std::byte> stream;
    const auto flip = input.take<std::uint16_t>();
    const auto slice = input.take<std::uint8_t>();
    std::vector<std::byte> payload;
    std::vector<Taken> sent;
    while (!input.empty()) {
        const Frame frame = next_frame(input, payload);
        payload.resize(std::min(payload.size(), most_payload_bytes(frame.kind)));
        const auto made = make_frame(frame.kind, payload);
        stream.insert(stream.end(), made.header.begin(), made.header.end());
        stream.insert(stream.end(), made.payload.begin(), made.payload.end());
        sent.push_back({frame.kind, made.payload});
    }
    const bool is_changed = flip != 0 && flip / 8 < stream.size();
    if (is_changed) stream[flip / 8] ^= std::byte{1} << (flip % 8);
    const auto taken = take_apart(stream, 1 + std::size_t{slice});
    FTVMM_CHECK(is_changed || taken == sent, "what was sent comes");
    FTVMM_CHECK(taken.size() <= sent.size() && std::equal(taken.begin(), taken.end(), sent.begin()),
                "what was changed does not come");
}

void try_messages(std::span<const std::byte> payload) {
    if (const auto ack = decode_ack(payload)) {
        FTVMM_CHECK(std::ranges::equal(encode(*ack), payload), "an ack is written in one way");
    }
    if (const auto message = pair::decode_clone_message(payload)) {
        const auto again = pair::make_frame(*message).payload;
        // But for a reason, whose letters and length may be others.
        FTVMM_CHECK(std::holds_alternative<pair::clone_message::Failed>(*message) ||
                        std::ranges::equal(again, payload),
                    "a message of a clone is written in one way");
        FTVMM_CHECK(pair::decode_clone_message(again) == *message, "and comes back as it was");
    }
    if (const auto control = decode_control(payload)) {
        FTVMM_CHECK(std::ranges::equal(encode(*control), payload),
                    "a control is written in one way");
    }
}

// A Secondary that says anything.
void try_sender(FuzzInput& input) {
    LinkLimits limits;
    limits.unreplayed_records = 4;
    SenderFsm sender(replay::Seq(0), Instant{}, limits);
    Instant now{};
    std::uint64_t offered = 0;
    std::vector<std::byte> payload;
    while (!input.empty()) {
        now += std::chrono::milliseconds(input.below(60));
        replay::RecordEncoder encoder;
        encoder.add(button());
        replay::ClosedBatch batch;
        batch.first = batch.last = replay::Seq(offered);
        batch.bytes = replay::make_batch(batch.first, 1, encoder.take());
        sender.offer(std::move(batch), now);
        ++offered;
        sender.tick(now);
        (void)sender.take_frames(now);
        // Acks that are nearly right come further.
        if (input.take_bool()) {
            Ack ack;
            ack.next_received = replay::Seq(input.below(16));
            ack.next_replayed = replay::Seq(input.below(16));
            ack.answers = MessageNumber(input.below(16));
            payload = encode(ack);
            (void)sender.step({FrameKind::kAck, payload}, now);
        } else {
            (void)sender.step(next_frame(input, payload), now);
        }
        FTVMM_CHECK(sender.next_replayed() <= sender.next_received() &&
                        sender.next_received().value() <= offered,
                    "no more is believed than was sent");
        FTVMM_CHECK(!sender.answered_sent_at() || *sender.answered_sent_at() <= now,
                    "nothing is answered before it was sent");
        FTVMM_CHECK(sender.unreplayed_records() <= limits.unreplayed_records,
                    "no more is sent than there is room for");
    }
}

// A Primary that says anything.
void try_receiver(FuzzInput& input) {
    ReceiverFsm receiver(replay::Seq(0), Instant{});
    std::uint64_t next = 0;
    std::vector<std::byte> payload;
    while (!input.empty()) {
        Frame frame{FrameKind::kBatch, {}};
        if (input.take_bool()) {
            replay::RecordEncoder encoder;
            encoder.add(button());
            payload = replay::make_batch(replay::Seq(next + input.below(2)), 1, encoder.take());
            frame.payload = payload;
        } else {
            frame = next_frame(input, payload);
        }
        const bool is_taken = receiver.step(frame, Instant{}).has_value();
        for (const auto& batch : receiver.take_batches()) {
            FTVMM_CHECK(batch.first.value() == next, "records come in order, without gaps");
            next += batch.records.size();
        }
        FTVMM_CHECK(receiver.next_received().value() == next, "what is acked is held");
        FTVMM_CHECK(is_taken || !receiver.has_frames(), "a broken link acks nothing");
        if (input.take_bool()) receiver.replayed(receiver.next_received(), {});
        (void)receiver.take_frames(Instant{});
    }
}

// A Primary that clones anything, to a guest whose last pages are no whole chunk.
void try_clone(FuzzInput& input) {
    constexpr std::uint64_t kPages = machine::kChunkPages + 16;
    machine::MachineConfig config;
    config.memory_bytes = kPages * kPageBytes;
    auto target = pair::CloneTarget::create(config, "vm").value();
    std::uint64_t pages = 0;
    std::size_t state_bytes = 0;
    std::vector<std::byte> payload;
    while (!input.empty()) {
        const Frame frame = next_frame(input, payload);
        const bool was_whole = target.is_whole();
        const auto taken = target.step(frame);
        if (!taken) {
            FTVMM_CHECK(!taken.error().what().empty(), "what is wrong can be told");
            FTVMM_CHECK(target.pages() == pages, "what is refused counts for nothing");
            FTVMM_CHECK(target.is_whole() == was_whole, "what is refused ends nothing");
            return;
        }
        FTVMM_CHECK(!was_whole, "nothing is taken behind the end");
        if (frame.kind == FrameKind::kCloneState) state_bytes += frame.payload.size();
        if (frame.kind == FrameKind::kClonePages) {
            const auto view = pair::decode_pages(frame.payload, kPages);
            FTVMM_CHECK(view.has_value(), "pages that are taken can be read");
            pages += view->header.count();
        }
        FTVMM_CHECK(target.pages() == pages, "pages are counted as they come");
        if (!target.is_whole()) continue;
        const auto message = pair::decode_clone_message(frame.payload);
        const auto* ends = message ? std::get_if<pair::clone_message::Ends>(&*message) : nullptr;
        FTVMM_CHECK(ends != nullptr, "a clone ends with its end");
        FTVMM_CHECK(ends->pages == pages && ends->state_bytes <= state_bytes &&
                        ends->bulk_bytes == state_bytes - ends->state_bytes,
                    "a clone is whole that has all that it says");
    }
}

void run(std::span<const std::uint8_t> bytes) {
    FuzzInput input(bytes);
    const auto rest = std::as_bytes(bytes.subspan(bytes.empty() ? 0 : 1));
    switch (input.below(6)) {
        case 0:
            return try_stream(rest);
        case 1:
            return try_messages(rest);
        case 2:
            return try_frames(input);
        case 3:
            return try_sender(input);
        case 4:
            return try_receiver(input);
        default:
            return try_clone(input);
    }
}

}  // namespace
}  // namespace ftvmm::fuzz

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    ftvmm::fuzz::run({data, size});
    return 0;
}
