#include "ftlink/handshake.h"

#include <fmt/format.h>
#include <proto/link.pb.h>

#include <algorithm>
#include <array>
#include <iterator>

namespace ftvmm::ftlink {

namespace {

bool is_printable(char c) {
    return c >= ' ' && c <= '~';
}

// They go into messages for people as they are.
Result<void> check_text(const char* what, std::string_view text) {
    if (text.size() > kMaxHandshakeText) {
        return fail(fmt::format("{} takes {} bytes, and {} are the most", what, text.size(),
                                kMaxHandshakeText));
    }
    if (std::ranges::all_of(text, is_printable)) return {};
    return fail(fmt::format("{} holds more than printable ASCII", what));
}

std::string cut(std::string text) {
    if (text.size() > kMaxHandshakeText) text.resize(kMaxHandshakeText);
    std::ranges::replace_if(
        text, [](char c) { return !is_printable(c); }, '?');
    return text;
}

Result<void> check_texts(const Hello& hello) {
    FTVMM_TRY(check_text("the build of ftvmm", hello.build));
    FTVMM_TRY(check_text("the CPU identity", hello.cpu_identity));
    FTVMM_TRY(check_text("the VM's uuid", hello.vm_uuid));
    FTVMM_TRY(check_text("the host's name", hello.host));
    FTVMM_TRY(check_text("the machine id", hello.machine_id));
    if (hello.paths.size() > kMaxHelloPaths) {
        return fail(fmt::format("its beats have {} paths, and {} are the most", hello.paths.size(),
                                kMaxHelloPaths));
    }
    for (const HelloPath& path : hello.paths) {
        FTVMM_TRY(check_text("the network of a path", path.network));
        FTVMM_TRY(check_text("the address of a path", path.address));
    }
    return {};
}

std::vector<std::byte> bytes_of(const google::protobuf::MessageLite& message) {
    const std::string text = message.SerializeAsString();
    const auto bytes = std::as_bytes(std::span(text));
    return {bytes.begin(), bytes.end()};
}

Result<void> parse(google::protobuf::MessageLite& message, std::span<const std::byte> payload,
                   const char* what) {
    if (payload.size() > kMaxHandshakeBytes) {
        return fail(fmt::format("{} takes {} bytes, and {} are the most", what, payload.size(),
                                kMaxHandshakeBytes));
    }
    if (message.ParseFromArray(payload.data(), static_cast<int>(payload.size()))) return {};
    return fail(fmt::format("{} is none that ftvmm sends", what));
}

// One thing that must be the same on both.
struct Compared {
    const char* field;
    std::string mine;
    std::string yours;
    const char* advice;
};

std::array<Compared, 8> all_compared(const Hello& mine, const Hello& theirs) {
    constexpr const char* kSameBuild = "install one build of ftvmm on both hosts";
    constexpr const char* kSameConfig = "give both hosts the same vm.toml";
    constexpr const char* kSameStorage =
        "both must see the same shared folder; where they do, the one with the lower number knows "
        "of an older pair, and has to start anew";
    constexpr const char* kStale = "one of them knows of an older pair: it has to start anew";
    return {{
        {"the protocol version", std::to_string(mine.protocol_version),
         std::to_string(theirs.protocol_version), kSameBuild},
        {"the build of ftvmm", mine.build, theirs.build, kSameBuild},
        {"the VM's uuid", mine.vm_uuid, theirs.vm_uuid, kSameConfig},
        {"the generation", std::to_string(mine.generation.value()),
         std::to_string(theirs.generation.value()), kSameStorage},
        {"the time after which a silent host is dead", fmt::format("{} ms", mine.dead_after_ms),
         fmt::format("{} ms", theirs.dead_after_ms), kSameConfig},
        {"the CPU identity", mine.cpu_identity, theirs.cpu_identity,
         "use two hosts with one processor model, microcode and kernel"},
        {"the memory", fmt::format("{} bytes", mine.memory_bytes),
         fmt::format("{} bytes", theirs.memory_bytes), kSameConfig},
        {"the first record", std::to_string(mine.first_seq.value()),
         std::to_string(theirs.first_seq.value()), kStale},
    }};
}

}  // namespace

const char* name_of(LinkRole role) {
    return role == LinkRole::kPrimary ? "Primary" : "Secondary";
}

std::optional<Refusal> compare(const Hello& mine, const Hello& theirs,
                               std::string_view certified_host) {
    for (const Compared& compared : all_compared(mine, theirs)) {
        if (compared.mine == compared.yours) continue;
        return Refusal{compared.field, compared.mine, compared.yours, compared.advice};
    }
    if (mine.role == theirs.role) {
        return Refusal{"the role", name_of(mine.role), name_of(theirs.role),
                       "a pair is one Primary and one Secondary"};
    }
    if (theirs.host != certified_host) {
        return Refusal{"the name in your certificate", std::string(certified_host), theirs.host,
                       "give each host the folder that was made for it"};
    }
    if (mine.machine_id == theirs.machine_id) {
        return Refusal{"the machine id, which must not be the same,", mine.machine_id,
                       theirs.machine_id,
                       "use two machines; if they are, one was copied: systemd-machine-id-setup"};
    }
    return std::nullopt;
}

Error error_of_own(const Refusal& refusal) {
    return Error(fmt::format("{} makes no pair: {} here, {} there", refusal.field, refusal.mine,
                             refusal.yours),
                 refusal.advice);
}

Error error_of_other(const Refusal& refusal) {
    return Error(fmt::format("the other host refuses, {} makes no pair: {} there, {} here",
                             refusal.field, refusal.mine, refusal.yours),
                 refusal.advice);
}

Result<std::vector<std::byte>> encode_hello(const Hello& hello) {
    FTVMM_TRY(check_texts(hello));
    link::Hello message;
    message.set_protocol_version(hello.protocol_version);
    message.set_build(hello.build);
    message.set_cpu_identity(hello.cpu_identity);
    message.set_vm_uuid(hello.vm_uuid);
    message.set_generation(hello.generation.value());
    message.set_dead_after_ms(hello.dead_after_ms);
    message.set_role(hello.role == LinkRole::kPrimary ? link::Hello::ROLE_PRIMARY
                                                      : link::Hello::ROLE_SECONDARY);
    message.set_host(hello.host);
    message.set_machine_id(hello.machine_id);
    message.set_memory_bytes(hello.memory_bytes);
    message.set_first_seq(hello.first_seq.value());
    for (const HelloPath& path : hello.paths) {
        link::Path& added = *message.add_paths();
        added.set_network(path.network);
        added.set_address(path.address);
    }
    return bytes_of(message);
}

std::vector<std::byte> encode_refusal(const Refusal& refusal) {
    link::Refusal message;
    message.set_field(cut(refusal.field));
    message.set_mine(cut(refusal.mine));
    message.set_yours(cut(refusal.yours));
    message.set_advice(cut(refusal.advice));
    return bytes_of(message);
}

Result<Hello> decode_hello(std::span<const std::byte> payload) {
    link::Hello message;
    FTVMM_TRY(parse(message, payload, "its hello"));
    Hello hello;
    hello.protocol_version = message.protocol_version();
    // What its other fields mean only its own version knows.
    if (hello.protocol_version != kProtocolVersion) return hello;
    hello.build = message.build();
    hello.cpu_identity = message.cpu_identity();
    hello.vm_uuid = message.vm_uuid();
    hello.generation = Generation(message.generation());
    hello.dead_after_ms = message.dead_after_ms();
    hello.host = message.host();
    hello.machine_id = message.machine_id();
    hello.memory_bytes = message.memory_bytes();
    hello.first_seq = replay::Seq(message.first_seq());
    for (const link::Path& path : message.paths())
        hello.paths.push_back({path.network(), path.address()});
    FTVMM_TRY(check_texts(hello));
    if (message.role() == link::Hello::ROLE_PRIMARY) {
        hello.role = LinkRole::kPrimary;
    } else if (message.role() == link::Hello::ROLE_SECONDARY) {
        hello.role = LinkRole::kSecondary;
    } else {
        return fail(fmt::format("its role {} is none", static_cast<int>(message.role())));
    }
    return hello;
}

Result<Refusal> decode_refusal(std::span<const std::byte> payload) {
    link::Refusal message;
    FTVMM_TRY(parse(message, payload, "its refusal"));
    Refusal refusal{message.field(), message.mine(), message.yours(), message.advice()};
    FTVMM_TRY(check_text("what it refuses", refusal.field));
    FTVMM_TRY(check_text("its value", refusal.mine));
    FTVMM_TRY(check_text("this host's value", refusal.yours));
    FTVMM_TRY(check_text("its advice", refusal.advice));
    return refusal;
}

}  // namespace ftvmm::ftlink
