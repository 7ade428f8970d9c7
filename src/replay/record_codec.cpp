#include "replay/record_codec.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/check.h"
#include "base/overloaded.h"

namespace ftvmm::replay {

namespace {

// A record's first byte: its kind in the low half, the step to its landmark in the high one. Any
// step but kStay is followed by the digest.
constexpr unsigned kStepShift = 4;
constexpr std::uint8_t kKindMask = 0x0f;
constexpr std::uint8_t kStay = 0;        // The last record's landmark and digest.
constexpr std::uint8_t kMostExits = 12;  // 1 to 12: so many exits on.
constexpr std::uint8_t kExits = 13;      // A varint of exits on.
constexpr std::uint8_t kOneCheckpoint = 14;
constexpr std::uint8_t kAbsolute = 15;  // Two varints: exits, checkpoints.
static_assert(kRecordKinds <= kKindMask + 1);

// Body's indices.
enum class Kind : std::uint8_t {
    kTime,
    kWallClock,
    kConsoleBytes,
    kPacket,
    kDiskCompletion,
    kEntropy,
    kPowerButton,
    kPowerOn,
    kCheckpoint,
    kOutputMark,
    kMark,
    kAudit,
    kEnd,
    kTrace,
};
static_assert(static_cast<std::size_t>(Kind::kTrace) + 1 == kRecordKinds);
// What an Input becomes has the Input's index.
static_assert(static_cast<std::size_t>(Kind::kPowerOn) == std::variant_size_v<Input>);

constexpr std::uint8_t kLastPort = static_cast<std::uint8_t>(ConsolePort::kVirtio);
constexpr std::uint8_t kLastEnd = static_cast<std::uint8_t>(record::EndKind::kCrashed);

// Time and outputs start anew with each life.
void begin_life(RecordContext& context) {
    context.time = 0;
    context.outputs = 0;
}

std::uint64_t nanoseconds(GuestTime time) {
    return static_cast<std::uint64_t>(time.time_since_epoch().count());
}

}  // namespace

void RecordEncoder::begin(std::size_t kind, Landmark at, std::uint16_t digest) {
    const Landmark was = std::exchange(context_.at, at);
    const bool is_on = at.exits > was.exits && at.checkpoints == was.checkpoints;
    const std::uint64_t exits = at.exits - was.exits;
    std::uint8_t step = kAbsolute;
    if (at == was && digest == context_.digest) {
        step = kStay;
    } else if (is_on) {
        step = exits <= kMostExits ? static_cast<std::uint8_t>(exits) : kExits;
    } else if (exits == 0 && at.checkpoints == was.checkpoints + 1) {
        step = kOneCheckpoint;
    }
    bytes_.fixed(static_cast<std::uint8_t>(kind | static_cast<unsigned>(step) << kStepShift));
    if (step == kExits) bytes_.varint(exits);
    if (step == kAbsolute) {
        bytes_.varint(at.exits);
        bytes_.varint(at.checkpoints);
    }
    if (step != kStay) bytes_.fixed(digest);
    context_.digest = digest;
}

void RecordEncoder::put(const Input& input) {
    std::visit(Overloaded{
                   [&](const input::Time& time) {
                       const std::uint64_t now = nanoseconds(time.now);
                       bytes_.varint(now - std::exchange(context_.time, now));
                   },
                   [&](const input::WallClock& clock) {
                       bytes_.varint(to_zigzag(clock.at.time_since_epoch().count()));
                   },
                   [&](const input::ConsoleBytes& console) {
                       bytes_.fixed(static_cast<std::uint8_t>(console.port));
                       bytes_.blob(console.bytes);
                   },
                   [&](const input::Packet& packet) {
                       bytes_.varint(packet.nic);
                       bytes_.blob(packet.frame);
                   },
                   [&](const input::DiskCompletion& done) {
                       bytes_.varint(done.disk);
                       bytes_.varint(done.id);
                       bytes_.fixed(static_cast<std::uint8_t>(done.ok));
                       bytes_.blob(done.data);
                   },
                   [&](const input::Entropy& entropy) {
                       bytes_.varint(entropy.id);
                       bytes_.blob(entropy.bytes);
                   },
                   [](const input::PowerButton&) {},
               },
               input);
}

// Registers as what changed: a mask, bit n for number n, then the differences.
void RecordEncoder::put(const ExitFacts& exit) {
    bytes_.fixed(static_cast<std::uint8_t>(exit.reason));
    bytes_.varint(exit.where);
    bytes_.varint(exit.detail);
    std::uint64_t changed = 0;
    for (std::size_t i = 0; i < exit.registers.size(); ++i) {
        if (exit.registers.at(i) != context_.registers.at(i)) changed |= std::uint64_t{1} << i;
    }
    bytes_.varint(changed);
    for (std::size_t i = 0; i < exit.registers.size(); ++i) {
        const std::uint64_t was = std::exchange(context_.registers.at(i), exit.registers.at(i));
        if (was == exit.registers.at(i)) continue;
        bytes_.varint(to_zigzag(static_cast<std::int64_t>(exit.registers.at(i) - was)));
    }
}

std::size_t RecordEncoder::add(Landmark at, std::uint16_t digest, const Input& input) {
    FTVMM_CHECK(at >= context_.at, "a log goes forward");
    const std::size_t before = size();
    begin(input.index(), at, digest);
    put(input);
    return size() - before;
}

std::size_t RecordEncoder::add(const Record& record) {
    if (const auto input = input_of(record.body)) return add(record.at, record.digest, *input);
    const bool is_power_on = std::holds_alternative<record::PowerOn>(record.body);
    FTVMM_CHECK(is_power_on ? record.at == Landmark{} : record.at >= context_.at,
                "a log goes forward but for a power-on, which is at zero");
    const std::size_t before = size();
    begin(record.body.index(), record.at, record.digest);
    std::visit(Overloaded{
                   [&](const record::PowerOn& on) {
                       bytes_.blob(on.rng_seed);
                       begin_life(context_);
                   },
                   [&](const record::Checkpoint& checkpoint) { bytes_.blob(checkpoint.state); },
                   [&](const record::OutputMark& mark) {
                       bytes_.varint(mark.number - std::exchange(context_.outputs, mark.number));
                   },
                   [&](const record::Mark& mark) { bytes_.fixed(mark.digest); },
                   [&](const record::Audit& audit) { bytes_.fixed(audit.memory_hash); },
                   [&](const record::End& end) {
                       bytes_.fixed(static_cast<std::uint8_t>(end.kind));
                       bytes_.fixed(end.digest);
                   },
                   [&](const record::Trace& trace) { put(trace.exit); },
                   [](const auto&) { FTVMM_CHECK(false, "it is no input"); },
               },
               record.body);
    return size() - before;
}

std::vector<std::byte> RecordEncoder::take() {
    context_ = {};
    return bytes_.take();
}

namespace {

class RecordDecoder {
  public:
    explicit RecordDecoder(std::span<const std::byte> payload) : reader_(payload) {}

    [[nodiscard]] const ByteReader& reader() const { return reader_; }

    // Nothing of it may be used if the reader has failed.
    Record next() {
        Record record;
        const auto tag = reader_.fixed<std::uint8_t>();
        const auto kind = static_cast<std::uint8_t>(tag & kKindMask);
        if (kind >= kRecordKinds) reader_.fail("a record is of no known kind");
        take_step(static_cast<std::uint8_t>(tag >> kStepShift),
                  static_cast<Kind>(kind) == Kind::kPowerOn);
        record.at = context_.at;
        record.digest = context_.digest;
        record.body = take_body(static_cast<Kind>(kind));
        return record;
    }

  private:
    void take_step(std::uint8_t step, bool is_power_on) {
        Landmark at = context_.at;
        if (step == kAbsolute) {
            at.exits = reader_.varint();
            at.checkpoints = reader_.varint();
        } else if (step == kOneCheckpoint) {
            ++at.checkpoints;
        } else {
            at.exits += step == kExits ? reader_.varint() : step;
        }
        // Counts that ran over have become smaller.
        if (is_power_on ? at != Landmark{} : at < context_.at) {
            reader_.fail("a record lies before the one before it");
        }
        context_.at = at;
        if (step != kStay) context_.digest = reader_.fixed<std::uint16_t>();
    }

    Body take_body(Kind kind) {
        switch (kind) {
            case Kind::kTime:
                context_.time += reader_.varint();
                return input::Time{
                    GuestTime(GuestTime::duration(static_cast<std::int64_t>(context_.time)))};
            case Kind::kWallClock:
                return input::WallClock{std::chrono::sys_time<std::chrono::nanoseconds>(
                    std::chrono::nanoseconds(from_zigzag(reader_.varint())))};
            case Kind::kConsoleBytes: {
                const auto port = static_cast<ConsolePort>(up_to(kLastPort));
                return record::ConsoleBytes{take_blob(), port};
            }
            case Kind::kPacket: {
                const auto nic = reader_.small_varint<std::uint32_t>();
                return record::Packet{nic, take_blob()};
            }
            case Kind::kDiskCompletion: {
                record::DiskCompletion done;
                done.disk = reader_.small_varint<std::uint32_t>();
                done.id = reader_.varint();
                done.ok = up_to(1) != 0;
                done.data = take_blob();
                return done;
            }
            case Kind::kEntropy: {
                const std::uint64_t id = reader_.varint();
                return record::Entropy{id, take_blob()};
            }
            case Kind::kPowerButton:
                return input::PowerButton{};
            case Kind::kPowerOn:
                begin_life(context_);
                return record::PowerOn{take_blob()};
            case Kind::kCheckpoint:
                return record::Checkpoint{take_blob()};
            case Kind::kOutputMark:
                context_.outputs += reader_.varint();
                return record::OutputMark{context_.outputs};
            case Kind::kMark:
                return record::Mark{reader_.fixed<std::uint64_t>()};
            case Kind::kAudit:
                return record::Audit{reader_.fixed<std::uint64_t>()};
            case Kind::kEnd: {
                const auto end = static_cast<record::EndKind>(up_to(kLastEnd));
                return record::End{end, reader_.fixed<std::uint64_t>()};
            }
            case Kind::kTrace:
                return record::Trace{take_exit()};
        }
        return {};  // No known kind, which next() has said.
    }

    ExitFacts take_exit() {
        ExitFacts exit;
        exit.reason = static_cast<ExitReason>(up_to(static_cast<std::uint8_t>(kLastExitReason)));
        exit.where = reader_.varint();
        exit.detail = reader_.varint();
        const std::uint64_t changed = reader_.varint();
        if (changed >> context_.registers.size() != 0) {
            reader_.fail("a trace is of a register that there is not");
        }
        for (std::size_t i = 0; i < context_.registers.size(); ++i) {
            if ((changed >> i & 1U) == 0) continue;
            context_.registers.at(i) += static_cast<std::uint64_t>(from_zigzag(reader_.varint()));
        }
        exit.registers = context_.registers;
        return exit;
    }

    std::uint8_t up_to(std::uint8_t last) {
        const auto value = reader_.fixed<std::uint8_t>();
        if (value <= last) return value;
        reader_.fail("a record holds a choice that there is not");
        return 0;
    }

    std::vector<std::byte> take_blob() {
        const auto blob = reader_.blob();
        return {blob.begin(), blob.end()};
    }

    ByteReader reader_;
    RecordContext context_;
};

}  // namespace

Result<std::vector<Record>> decode_records(std::span<const std::byte> payload, std::size_t count) {
    RecordDecoder decoder(payload);
    std::vector<Record> records;
    // A record takes a byte at least.
    records.reserve(std::min(count, payload.size()));
    for (std::size_t i = 0; i < count; ++i) {
        Record record = decoder.next();
        if (const auto& failure = decoder.reader().failure()) return fail(*failure);
        records.push_back(std::move(record));
    }
    if (!decoder.reader().is_at_end()) {
        return fail("its last record ends before it, at byte " +
                    std::to_string(decoder.reader().offset()));
    }
    return records;
}

std::size_t blob_bytes(const Input& input) {
    return std::visit(Overloaded{
                          [](const input::ConsoleBytes& console) { return console.bytes.size(); },
                          [](const input::Packet& packet) { return packet.frame.size(); },
                          [](const input::DiskCompletion& done) { return done.data.size(); },
                          [](const input::Entropy& entropy) { return entropy.bytes.size(); },
                          [](const auto&) { return std::size_t{0}; },
                      },
                      input);
}

std::size_t blob_bytes(const Body& body) {
    if (const auto input = input_of(body)) return blob_bytes(*input);
    if (const auto* on = std::get_if<record::PowerOn>(&body)) return on->rng_seed.size();
    const auto* checkpoint = std::get_if<record::Checkpoint>(&body);
    return checkpoint == nullptr ? 0 : checkpoint->state.size();
}

}  // namespace ftvmm::replay
