import static io.grpc.stub.MetadataUtils.newAttachHeadersInterceptor;
import static io.grpc.stub.MetadataUtils.newCaptureMetadataInterceptor;

import com.google.gson.Gson;
import com.google.protobuf.Any;
import com.google.protobuf.ByteString;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.UnsafeByteOperations;
import com.google.rpc.ErrorInfo;
import com.longshore.v1.BoundedRange;
import com.longshore.v1.ByteRange;
import com.longshore.v1.Chunk;
import com.longshore.v1.FinishUploadRequest;
import com.longshore.v1.GetRangesRequest;
import com.longshore.v1.GetRangesResponse;
import com.longshore.v1.GetRequest;
import com.longshore.v1.GetResponse;
import com.longshore.v1.ObjectMeta;
import com.longshore.v1.ObjectServiceGrpc;
import com.longshore.v1.StartUploadRequest;
import com.longshore.v1.UploadFinish;
import com.longshore.v1.UploadRequest;
import com.longshore.v1.UploadResponse;
import com.longshore.v1.UploadServiceGrpc;
import com.longshore.v1.UploadSpec;
import com.longshore.v1.WriteUploadEnd;
import com.longshore.v1.WriteUploadRequest;
import com.longshore.v1.WriteUploadResponse;
import com.longshore.v1.WriteUploadSpec;
import com.longshore.v1.WriteUploadWithProgressRequest;
import com.longshore.v1.WriteUploadWithProgressResponse;
import io.grpc.Channel;
import io.grpc.ClientInterceptors;
import io.grpc.Context;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.netty.shaded.io.grpc.netty.NettyChannelBuilder;
import io.grpc.protobuf.StatusProto;
import io.grpc.stub.AbstractStub;
import io.grpc.stub.ClientCallStreamObserver;
import io.grpc.stub.ClientResponseObserver;
import io.grpc.stub.StreamObserver;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.BiConsumer;
import java.util.function.Consumer;
import java.util.function.Function;
import java.util.function.Supplier;
import java.util.zip.CRC32C;

/**
 * Makes the calls of the cases with grpc-java: {@code Client CASES DATA} prints a tab-separated line for each,
 * {@code ok NAME SEEN} or {@code FAIL NAME WHY}.
 */
final class Client {
    /** By then, the server has received what was sent. */
    private static final long SETTLING_MS = 500;

    /** A case, as described in cases.py. */
    private static final class Case {
        String name, call, address, store, key, ending;
        Map<String, String> metadata;
        boolean gzip, cancel, bare;
        long timeout_ms, offset;
        long[][] ranges;
        Long coalesce, size;
        int[] chunks;
        int damaged;
        Finish finish;
    }

    private static final class Finish {
        Long size, crc32c;
    }

    private final Case told;
    private final byte[] data;
    private final Channel channel;
    private final AtomicReference<Metadata> headers = new AtomicReference<>();
    private final AtomicReference<Metadata> trailers = new AtomicReference<>();
    private final Map<String, Object> seen = new TreeMap<>();

    private Client(Case told, byte[] data, Channel channel) {
        this.told = told;
        this.data = data;
        Metadata sent = new Metadata();
        told.metadata.forEach((name, value) -> sent.put(text(name), value));
        this.channel = ClientInterceptors.intercept(channel, newAttachHeadersInterceptor(sent));
    }

    public static void main(String[] arguments) throws Exception {
        Gson gson = new Gson();
        Case[] cases = gson.fromJson(Files.readString(Path.of(arguments[0])), Case[].class);
        byte[] data = Files.readAllBytes(Path.of(arguments[1]));
        Map<String, ManagedChannel> channels = new HashMap<>();
        for (Case each : cases) {
            // Ignore the proxy settings of the environment.
            ManagedChannel channel = channels.computeIfAbsent(each.address, address ->
                NettyChannelBuilder.forTarget(address).usePlaintext().proxyDetector(target -> null).build());
            try {
                Client client = new Client(each, data, channel);
                client.run();
                System.out.printf("ok\t%s\t%s%n", each.name, gson.toJson(client.seen));
            } catch (Exception | AssertionError error) {
                System.out.printf("FAIL\t%s\t%s%n", each.name, error.toString().replaceAll("\\s+", " "));
            }
        }
        channels.values().forEach(ManagedChannel::shutdownNow);
    }

    private void run() throws Exception {
        switch (told.call) {
            case "Get" -> get();
            case "GetRanges" -> getRanges();
            case "Upload" -> upload();
            case "WriteUpload" -> writeUpload();
            case "WriteUploadWithProgress" -> writeUploadWithProgress();
            default -> throw new IllegalArgumentException(told.call);
        }
    }

    private void get() {
        GetRequest request = GetRequest.newBuilder().setStore(told.store).setKey(told.key).build();
        var objects = observed(ObjectServiceGrpc.newBlockingStub(channel));
        long[] got = {0};
        ObjectMeta[] meta = {null};
        read(() -> objects.get(request), (GetResponse message, Runnable cancel) -> {
            check(message.hasInfo() == (meta[0] == null), "info must be in the first message only");
            if (message.hasInfo()) {
                meta[0] = message.getInfo().getMeta();
                seen.put("key", meta[0].getKey());
                seen.put("size", meta[0].getSize());
            }
            if (message.hasChunk()) {
                got[0] += take(message.getChunk(), got[0]);
                if (told.cancel) {
                    cancel.run();
                }
            }
        });
        seen.put("bytes", got[0]);
    }

    private void getRanges() {
        GetRangesRequest.Builder request = GetRangesRequest.newBuilder().setStore(told.store).setKey(told.key);
        for (long[] each : told.ranges) {
            BoundedRange bounded = BoundedRange.newBuilder().setStart(each[0]).setEnd(each[1]).build();
            request.addRanges(ByteRange.newBuilder().setBounded(bounded));
        }
        if (told.coalesce != null) {
            request.setCoalesceBytes(told.coalesce);
        }
        var objects = observed(ObjectServiceGrpc.newBlockingStub(channel));
        long[] got = new long[told.ranges.length];
        int[] last = {-1};
        read(() -> objects.getRanges(request.build()), (GetRangesResponse message, Runnable cancel) -> {
            check(message.hasInfo() == (last[0] == -1), "info must be in the first message only");
            int index = message.getRangeIndex();
            check(index >= last[0], "the ranges are not in the requested order");
            last[0] = index;
            if (message.hasChunk()) {
                check(message.getOffset() == told.ranges[index][0] + got[index], "a message has a wrong offset");
                got[index] += take(message.getChunk(), message.getOffset());
            }
        });
        long total = 0;
        for (int index = 0; index < got.length; index++) {
            boolean whole = got[index] == told.ranges[index][1] - told.ranges[index][0];
            check(whole || !seen.get("code").equals(Status.Code.OK.value()), "a range is incomplete");
            total += got[index];
        }
        seen.put("bytes", total);
    }

    /** Reads a stream to its end. */
    private <M> void read(Supplier<Iterator<M>> call, BiConsumer<M, Runnable> take) {
        Context.CancellableContext context = Context.current().withCancellation();
        Context before = context.attach();
        Throwable failure = null;
        try {
            Iterator<M> messages = call.get();
            while (messages.hasNext()) {
                take.accept(messages.next(), () -> context.cancel(null));
            }
        } catch (StatusRuntimeException error) {
            failure = error;
        } finally {
            context.detach(before);
            context.cancel(null);
        }
        outcome(failure);
    }

    private void upload() throws Exception {
        UploadSpec.Builder spec = UploadSpec.newBuilder().setStore(told.store).setKey(told.key);
        if (told.size != null) {
            spec.setSize(told.size);
        }
        UploadFinish.Builder finish = UploadFinish.newBuilder();
        if (told.finish.size != null) {
            finish.setSize(told.finish.size);
        }
        if (told.finish.crc32c != null) {
            finish.setCrc32C(told.finish.crc32c.intValue());
        }
        var objects = observed(ObjectServiceGrpc.newStub(channel));
        UploadResponse answer = last(stream(
            objects::upload, UploadRequest.newBuilder().setSpec(spec).build(),
            chunk -> UploadRequest.newBuilder().setChunk(chunk).build(),
            UploadRequest.newBuilder().setFinish(finish).build()));
        if (answer != null) {
            seen.put("key", answer.getMeta().getKey());
            seen.put("size", answer.getMeta().getSize());
            seen.put("parts", answer.getParts());
        }
    }

    private void writeUpload() throws Exception {
        var unary = UploadServiceGrpc.newBlockingStub(channel);
        String id = unary.startUpload(
            StartUploadRequest.newBuilder().setStore(told.store).setKey(told.key).build()).getUploadId();
        WriteUploadSpec spec = WriteUploadSpec.newBuilder().setUploadId(id).setOffset(told.offset).build();
        var uploads = observed(UploadServiceGrpc.newStub(channel));
        finish(id, last(stream(
            uploads::writeUpload, WriteUploadRequest.newBuilder().setSpec(spec).build(),
            chunk -> WriteUploadRequest.newBuilder().setChunk(chunk).build(),
            WriteUploadRequest.newBuilder().setEnd(WriteUploadEnd.getDefaultInstance()).build())));
    }

    private void writeUploadWithProgress() throws Exception {
        String id = UploadServiceGrpc.newBlockingStub(channel).startUpload(
            StartUploadRequest.newBuilder().setStore(told.store).setKey(told.key).build()).getUploadId();
        WriteUploadSpec spec = WriteUploadSpec.newBuilder().setUploadId(id).setOffset(told.offset).build();
        var uploads = observed(UploadServiceGrpc.newStub(channel));
        WriteUploadResponse answer = null;
        long end = 0;
        for (WriteUploadWithProgressResponse message : stream(
                uploads::writeUploadWithProgress, WriteUploadWithProgressRequest.newBuilder().setSpec(spec).build(),
                chunk -> WriteUploadWithProgressRequest.newBuilder().setChunk(chunk).build(),
                WriteUploadWithProgressRequest.newBuilder().setEnd(WriteUploadEnd.getDefaultInstance()).build())) {
            check(answer == null, "a message follows the result");
            if (message.hasProgress()) {
                check(message.getProgress().getPersistedEnd() > end, "progress does not grow");
                end = message.getProgress().getPersistedEnd();
            } else {
                answer = message.getResult();
            }
        }
        check(answer == null || end == answer.getPersistedSize(), "the last progress is not the size written");
        finish(id, answer);
    }

    /** Finishes the upload if the call that wrote it succeeded. */
    private void finish(String id, WriteUploadResponse answer) {
        if (answer != null) {
            var unary = UploadServiceGrpc.newBlockingStub(channel);
            long size = unary.finishUpload(FinishUploadRequest.newBuilder().setUploadId(id).setSize(told.finish.size).build())
                .getMeta().getSize();
            check(size == answer.getPersistedSize(), "the object's size is not the size written");
            seen.put("size", size);
        }
    }

    private static <A> A last(List<A> answers) {
        return answers.isEmpty() ? null : answers.get(answers.size() - 1);
    }

    /** Sends the messages of an upload. Returns the responses. */
    private <Q, A> List<A> stream(Function<StreamObserver<A>, StreamObserver<Q>> method, Q spec, Function<Chunk, Q> message, Q last)
            throws Exception {
        Answer<Q, A> answer = new Answer<>();
        method.apply(answer);
        answer.send(spec);
        chunks(chunk -> answer.send(message.apply(chunk)));
        switch (told.ending) {
            case "close" -> {
                answer.send(last);
                answer.close();
            }
            case "cancel" -> {
                Thread.sleep(SETTLING_MS);
                answer.sink.cancel("cancelled by the case", null);
            }
            default -> { }
        }
        outcome(answer.failure.get());
        return answer.messages;
    }

    /** Receives the responses to a stream of messages, and sends the messages as fast as the server reads them. */
    private static final class Answer<Q, A> implements ClientResponseObserver<Q, A> {
        private final CompletableFuture<Throwable> failure = new CompletableFuture<>();
        private final Semaphore ready = new Semaphore(0);
        private ClientCallStreamObserver<Q> sink;
        private final List<A> messages = new ArrayList<>();

        @Override
        public void beforeStart(ClientCallStreamObserver<Q> sink) {
            this.sink = sink;
            sink.setOnReadyHandler(ready::release);
        }

        void send(Q message) {
            while (!failure.isDone() && !sink.isReady()) {
                ready.acquireUninterruptibly();
            }
            if (!failure.isDone()) {
                sink.onNext(message);
            }
        }

        void close() {
            if (!failure.isDone()) {
                sink.onCompleted();
            }
        }

        @Override
        public void onNext(A message) {
            messages.add(message);
        }

        @Override
        public void onError(Throwable error) {
            failure.complete(error);
            ready.release();
        }

        @Override
        public void onCompleted() {
            failure.complete(null);
            ready.release();
        }
    }

    private void chunks(Consumer<Chunk> send) {
        int start = 0;
        for (int index = 0; index < told.chunks.length; index++) {
            ByteString piece = UnsafeByteOperations.unsafeWrap(data, start, told.chunks[index]);
            start += told.chunks[index];
            Chunk.Builder chunk = Chunk.newBuilder().setData(piece);
            if (!told.bare) {
                chunk.setCrc32C(crc32c(piece) ^ (index == told.damaged ? 1 : 0));
            }
            send.accept(chunk.build());
        }
    }

    private int take(Chunk chunk, long offset) {
        int size = chunk.getData().size();
        ByteString expected = UnsafeByteOperations.unsafeWrap(data, (int) offset, size);
        check(chunk.getData().equals(expected), "the bytes from offset " + offset + " on differ from the object's");
        check(chunk.hasCrc32C() && chunk.getCrc32C() == crc32c(expected),
            "the checksum of the chunk at offset " + offset + " is wrong");
        return size;
    }

    private static int crc32c(ByteString bytes) {
        CRC32C checksum = new CRC32C();
        checksum.update(bytes.asReadOnlyByteBuffer());
        return (int) checksum.getValue();
    }

    /** Returns a stub with the case's deadline and compression, which captures headers and trailers. */
    private <S extends AbstractStub<S>> S observed(S stub) {
        S bounded = stub.withDeadlineAfter(told.timeout_ms, TimeUnit.MILLISECONDS)
            .withInterceptors(newCaptureMetadataInterceptor(headers, trailers));
        return told.gzip ? bounded.withCompression("gzip") : bounded;
    }

    /** Records the status, details and metadata of the call. */
    private void outcome(Throwable failure) {
        Status status = failure == null ? Status.OK : Status.fromThrowable(failure);
        seen.put("code", status.getCode().value());
        seen.put("message", status.getDescription() == null ? "" : status.getDescription());
        Metadata first = headers.get() == null ? new Metadata() : headers.get();
        Metadata last = trailers.get() == null ? new Metadata() : trailers.get();
        seen.put("headers", new TreeSet<>(first.keys()));
        seen.put("trailers", new TreeSet<>(last.keys()));
        Metadata both = new Metadata();
        both.merge(first);
        both.merge(last);
        String id = both.get(text("x-request-id"));
        seen.put("request_id", id == null ? "" : id);
        com.google.rpc.Status details = failure == null ? null : StatusProto.fromThrowable(failure);
        for (Any detail : details == null ? List.<Any>of() : details.getDetailsList()) {
            if (detail.is(ErrorInfo.class)) {
                ErrorInfo info = unpacked(detail);
                seen.put("details_code", details.getCode());
                seen.put("details_message", details.getMessage());
                seen.put("reason", info.getReason());
                seen.put("domain", info.getDomain());
                seen.put("facts", new TreeSet<>(info.getMetadataMap().keySet()));
            }
        }
    }

    private static ErrorInfo unpacked(Any detail) {
        try {
            return detail.unpack(ErrorInfo.class);
        } catch (InvalidProtocolBufferException error) {
            throw new AssertionError(error);
        }
    }

    private static Metadata.Key<String> text(String name) {
        return Metadata.Key.of(name, Metadata.ASCII_STRING_MARSHALLER);
    }

    private static void check(boolean holds, String otherwise) {
        if (!holds) {
            throw new AssertionError(otherwise);
        }
    }
}
