// Makes the calls of the cases with grpc-go: `client CASES DATA` prints a tab-separated line for each, `ok NAME SEEN` or
// `FAIL NAME WHY`.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	pb "longshore.tests/polyglot/longshore/v1"
)

// By then, the server has received what was sent.
const settling = 500 * time.Millisecond

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

type options struct {
	Name, Call, Address, Store, Key, Ending string
	Metadata                                map[string]string
	Gzip, Cancel, Bare                      bool
	TimeoutMs                               int `json:"timeout_ms"`
	Ranges                                  [][2]int64
	Coalesce, Size                          *int64
	Chunks                                  []int
	Damaged                                 int
	Offset                                  int64
	Finish                                  struct {
		Size   *int64
		CRC32C *uint32
	}
}

type seen map[string]any

// caller makes the call of one case.
type caller struct {
	options
	objects pb.ObjectServiceClient
	uploads pb.UploadServiceClient
	data    []byte
	context context.Context
	cancel  context.CancelFunc
	call    []grpc.CallOption
}

func main() {
	var cases []options
	text, err := os.ReadFile(os.Args[1])
	fatal(err)
	fatal(json.Unmarshal(text, &cases))
	data, err := os.ReadFile(os.Args[2])
	fatal(err)
	channels := map[string]*grpc.ClientConn{}
	for _, each := range cases {
		if channels[each.Address] == nil {
			// Ignore the proxy settings of the environment.
			channels[each.Address], err = grpc.NewClient(
				each.Address, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithNoProxy())
			fatal(err)
		}
		saw, err := run(each, data, channels[each.Address])
		if err != nil {
			fmt.Printf("FAIL\t%s\t%s\n", each.Name, strings.Join(strings.Fields(err.Error()), " "))
			continue
		}
		told, err := json.Marshal(saw)
		fatal(err)
		fmt.Printf("ok\t%s\t%s\n", each.Name, told)
	}
}

func fatal(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func run(each options, data []byte, channel *grpc.ClientConn) (seen, error) {
	c := caller{
		options: each, data: data,
		objects: pb.NewObjectServiceClient(channel), uploads: pb.NewUploadServiceClient(channel),
	}
	c.context, c.cancel = context.WithTimeout(context.Background(), time.Duration(each.TimeoutMs)*time.Millisecond)
	defer c.cancel()
	c.context = metadata.NewOutgoingContext(c.context, metadata.New(each.Metadata))
	if each.Gzip {
		c.call = append(c.call, grpc.UseCompressor(gzip.Name))
	}
	switch each.Call {
	case "Get":
		return c.get()
	case "GetRanges":
		return c.getRanges()
	case "Upload":
		return c.upload()
	case "WriteUpload":
		return c.writeUpload()
	case "WriteUploadWithProgress":
		return c.writeUploadWithProgress()
	}
	return nil, fmt.Errorf("unknown call: %s", each.Call)
}

func (c *caller) get() (seen, error) {
	stream, err := c.objects.Get(c.context, &pb.GetRequest{Store: c.Store, Key: c.Key}, c.call...)
	if err != nil {
		return nil, err
	}
	var got int64
	var meta *pb.ObjectMeta
	for {
		message, err := stream.Recv()
		if err != nil {
			saw, err := outcome(stream, err)
			if meta != nil && err == nil {
				saw["key"], saw["size"] = meta.Key, meta.Size
			}
			saw["bytes"] = got
			return saw, err
		}
		if (message.Info != nil) != (meta == nil) {
			return nil, errors.New("info must be in the first message only")
		}
		if meta == nil {
			meta = message.Info.Meta
		}
		if message.Chunk != nil {
			if err := c.take(message.Chunk, got); err != nil {
				return nil, err
			}
			got += int64(len(message.Chunk.Data))
			if c.Cancel {
				c.cancel()
			}
		}
	}
}

func (c *caller) getRanges() (seen, error) {
	request := &pb.GetRangesRequest{Store: c.Store, Key: c.Key, CoalesceBytes: c.Coalesce}
	for _, each := range c.Ranges {
		bounded := &pb.BoundedRange{Start: each[0], End: each[1]}
		request.Ranges = append(request.Ranges, &pb.ByteRange{Range: &pb.ByteRange_Bounded{Bounded: bounded}})
	}
	stream, err := c.objects.GetRanges(c.context, request, c.call...)
	if err != nil {
		return nil, err
	}
	var total int64
	got := make([]int64, len(c.Ranges))
	for first, last := true, int32(0); ; first = false {
		message, err := stream.Recv()
		if err != nil {
			for index, each := range c.Ranges {
				if err == io.EOF && got[index] != each[1]-each[0] {
					return nil, fmt.Errorf("received %d bytes of the range %v", got[index], each)
				}
			}
			saw, err := outcome(stream, err)
			saw["bytes"] = total
			return saw, err
		}
		if (message.Info != nil) != first {
			return nil, errors.New("info must be in the first message only")
		}
		if message.Chunk == nil {
			continue
		}
		index := message.RangeIndex
		if index < last || message.Offset != c.Ranges[index][0]+got[index] {
			return nil, fmt.Errorf("range %d: offset %d is out of order", index, message.Offset)
		}
		last = index
		if err := c.take(message.Chunk, message.Offset); err != nil {
			return nil, err
		}
		got[index] += int64(len(message.Chunk.Data))
		total += int64(len(message.Chunk.Data))
	}
}

func (c *caller) upload() (seen, error) {
	stream, err := c.objects.Upload(c.context, c.call...)
	if err != nil {
		return nil, err
	}
	spec := &pb.UploadSpec{Store: c.Store, Key: c.Key, Size: c.Size}
	failed := stream.Send(&pb.UploadRequest{Message: &pb.UploadRequest_Spec{Spec: spec}})
	for chunk := range c.chunks() {
		if failed == nil {
			failed = stream.Send(&pb.UploadRequest{Message: &pb.UploadRequest_Chunk{Chunk: chunk}})
		}
	}
	if failed == nil && c.Ending == "close" {
		finish := &pb.UploadFinish{Size: c.Finish.Size, Crc32C: c.Finish.CRC32C}
		failed = stream.Send(&pb.UploadRequest{Message: &pb.UploadRequest_Finish{Finish: finish}})
	}
	if failed != nil && failed != io.EOF {
		return nil, failed
	}
	answer := &pb.UploadResponse{}
	saw, err := c.end(stream, answer)
	if answer.Meta != nil {
		saw["key"], saw["size"], saw["parts"] = answer.Meta.Key, answer.Meta.Size, answer.Parts
	}
	return saw, err
}

func (c *caller) writeUpload() (seen, error) {
	started, err := c.uploads.StartUpload(c.context, &pb.StartUploadRequest{Store: c.Store, Key: c.Key})
	if err != nil {
		return nil, err
	}
	stream, err := c.uploads.WriteUpload(c.context, c.call...)
	if err != nil {
		return nil, err
	}
	spec := &pb.WriteUploadSpec{UploadId: started.UploadId, Offset: c.Offset}
	failed := stream.Send(&pb.WriteUploadRequest{Message: &pb.WriteUploadRequest_Spec{Spec: spec}})
	for chunk := range c.chunks() {
		if failed == nil {
			failed = stream.Send(&pb.WriteUploadRequest{Message: &pb.WriteUploadRequest_Chunk{Chunk: chunk}})
		}
	}
	if failed == nil && c.Ending == "close" {
		failed = stream.Send(&pb.WriteUploadRequest{Message: &pb.WriteUploadRequest_End{End: &pb.WriteUploadEnd{}}})
	}
	if failed != nil && failed != io.EOF {
		return nil, failed
	}
	answer := &pb.WriteUploadResponse{}
	saw, err := c.end(stream, answer)
	return c.finish(started.UploadId, answer, saw, err)
}

// writeUploadWithProgress sends everything before it reads.
func (c *caller) writeUploadWithProgress() (seen, error) {
	started, err := c.uploads.StartUpload(c.context, &pb.StartUploadRequest{Store: c.Store, Key: c.Key})
	if err != nil {
		return nil, err
	}
	stream, err := c.uploads.WriteUploadWithProgress(c.context, c.call...)
	if err != nil {
		return nil, err
	}
	send := func(message *pb.WriteUploadWithProgressRequest) error { return stream.Send(message) }
	spec := &pb.WriteUploadSpec{UploadId: started.UploadId, Offset: c.Offset}
	failed := send(&pb.WriteUploadWithProgressRequest{Message: &pb.WriteUploadWithProgressRequest_Spec{Spec: spec}})
	for chunk := range c.chunks() {
		if failed == nil {
			failed = send(&pb.WriteUploadWithProgressRequest{Message: &pb.WriteUploadWithProgressRequest_Chunk{Chunk: chunk}})
		}
	}
	if failed == nil && c.Ending == "close" {
		end := &pb.WriteUploadWithProgressRequest_End{End: &pb.WriteUploadEnd{}}
		failed = send(&pb.WriteUploadWithProgressRequest{Message: end})
	}
	if failed != nil && failed != io.EOF {
		return nil, failed
	}
	var persisted int64
	message, answer := &pb.WriteUploadWithProgressResponse{}, &pb.WriteUploadResponse{}
	saw, err := c.end(stream, message)
	for err == nil && message.Message != nil {
		if progress := message.GetProgress(); progress != nil {
			if progress.PersistedEnd <= persisted {
				return nil, fmt.Errorf("progress does not grow: %d after %d", progress.PersistedEnd, persisted)
			}
			persisted = progress.PersistedEnd
		} else {
			answer = message.GetResult()
		}
		message = &pb.WriteUploadWithProgressResponse{}
		saw, err = outcome(stream, stream.RecvMsg(message))
	}
	if err == nil && saw["code"] == codes.OK && persisted != answer.PersistedSize {
		return nil, fmt.Errorf("the last progress was %d, but %d bytes were written", persisted, answer.PersistedSize)
	}
	return c.finish(started.UploadId, answer, saw, err)
}

// finish finishes the upload if the call that wrote it succeeded.
func (c *caller) finish(id string, answer *pb.WriteUploadResponse, saw seen, err error) (seen, error) {
	if err != nil || saw["code"] != codes.OK {
		return saw, err
	}
	finished, err := c.uploads.FinishUpload(c.context, &pb.FinishUploadRequest{
		UploadId: id, Size: c.Finish.Size, Crc32C: c.Finish.CRC32C})
	if err != nil {
		return nil, err
	}
	if finished.Meta.Size != answer.PersistedSize {
		return nil, fmt.Errorf("%d bytes were written, but the object has %d", answer.PersistedSize, finished.Meta.Size)
	}
	saw["size"] = answer.PersistedSize
	return saw, nil
}

// end ends the stream as the case says, and waits for the response.
func (c *caller) end(stream grpc.ClientStream, answer any) (seen, error) {
	switch c.Ending {
	case "close":
		if err := stream.CloseSend(); err != nil {
			return nil, err
		}
	case "cancel":
		time.Sleep(settling)
		c.cancel()
	}
	return outcome(stream, stream.RecvMsg(answer))
}

// chunks yields the data of an upload.
func (c *caller) chunks() func(func(*pb.Chunk) bool) {
	return func(yield func(*pb.Chunk) bool) {
		start := 0
		for index, size := range c.Chunks {
			chunk := &pb.Chunk{Data: c.data[start : start+size]}
			start += size
			if !c.Bare {
				checksum := crc32.Checksum(chunk.Data, castagnoli)
				if index == c.Damaged {
					checksum ^= 1
				}
				chunk.Crc32C = &checksum
			}
			if !yield(chunk) {
				return
			}
		}
	}
}

func (c *caller) take(chunk *pb.Chunk, offset int64) error {
	if !bytes.Equal(chunk.Data, c.data[offset:offset+int64(len(chunk.Data))]) {
		return fmt.Errorf("the bytes from offset %d on differ from the object's", offset)
	}
	if chunk.Crc32C == nil || *chunk.Crc32C != crc32.Checksum(chunk.Data, castagnoli) {
		return fmt.Errorf("the checksum of the chunk at offset %d is wrong", offset)
	}
	return nil
}

// outcome returns the status, details and metadata of a call that has ended with failure (nil or io.EOF: success).
func outcome(stream grpc.ClientStream, failure error) (seen, error) {
	if failure == io.EOF {
		failure = nil
	}
	told := status.Convert(failure)
	saw := seen{"code": told.Code(), "message": told.Message()}
	// Header returns the call's own error again.
	headers, _ := stream.Header()
	trailers := stream.Trailer()
	saw["headers"], saw["trailers"] = slices.Sorted(maps.Keys(headers)), slices.Sorted(maps.Keys(trailers))
	saw["request_id"] = strings.Join(append(headers["x-request-id"], trailers["x-request-id"]...), ",")
	for _, detail := range told.Details() {
		if info, is := detail.(*errdetails.ErrorInfo); is {
			saw["details_code"], saw["details_message"] = told.Proto().Code, told.Proto().Message
			saw["reason"], saw["domain"] = info.Reason, info.Domain
			saw["facts"] = slices.Sorted(maps.Keys(info.Metadata))
		}
	}
	return saw, nil
}
